"""`medpipe train` on files, killed and started again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cli.main import app
from pipeline.errors import CohortError, MedpipeError, SettingsError
from pipeline.io import read_labels, read_table, read_volume
from pipeline.model_folder import load_model
from pipeline.segment.predict import PredictSettings, predict
from tests.unit.segment.training.phantom import LABELS, make_case, write_sheet

ROOT = Path(__file__).parents[4]
SMALL = (
    "--labels", "shell=1,core=2", "--network", "densehighres3dnet", "--patch", "12,12,12",
    "--folds", "3", "--rate", "0.01",
)  # fmt: skip


def run(*arguments):
    """Run the verb; what it raises passes through."""
    return CliRunner().invoke(app, ["train", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture(scope="module")
def sheet(tmp_path_factory):
    return write_sheet(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(sheet, tmp_path_factory):
    """Two of three folds, six iterations each."""
    out = tmp_path_factory.mktemp("out")
    for fold in ("0", "2"):
        done = run(sheet, "--out", out, *SMALL, "--iterations", 6, "--validate-every", 3,
                   "--fold", fold, "--licence", "CC0")  # fmt: skip
    assert done.stdout.strip() == str(out / "summary.tsv")
    return out


def test_a_fold_leaves_its_log_curve_scores_and_model(trained, sheet):
    folder = trained / "fold-0"
    log = read_table(folder / "log.tsv")
    assert log["iteration"].tolist() == [3, 6]
    assert {"loss", "rate", "dice_shell", "dice_core", "dice_mean"} <= set(log.columns)
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    table = read_table(folder / "validation.tsv")
    assert len(table) == 2 * 2  # two of six subjects, two labels
    card = json.loads((folder / "model/model.json").read_text("utf-8"))["card"]
    assert card["licence"] == "CC0"
    assert card["mirror_axes"] == [0]
    assert card["training_data"]["subjects"] == 4
    assert card["training_data"]["extent_mm"] == [[18.0, 20.0, 16.0]] * 2
    mean = table[table["label"] == "core"]["dice"].mean()
    assert card["metrics"]["core"]["dice_mean"] == pytest.approx(mean)
    text = (folder / "model/model_card.md").read_text("utf-8")
    assert "Licence: CC0" in text
    assert "fold 0 of 3" in text


def test_the_scores_are_those_of_the_stored_model_on_the_held_out_images(trained, sheet):
    folder = trained / "fold-0"
    model = load_model(folder / "model", "cpu")
    table = read_table(folder / "validation.tsv")
    row = table[table["label"] == "core"].iloc[0]
    image = read_volume(sheet.parent / "images" / row["image"])
    mask = read_labels(sheet.parent / "masks" / row["image"]).data == LABELS["core"]
    found = predict(image, [model]).labels.data == LABELS["core"]
    dice = 2 * (mask & found).sum() / (mask.sum() + found.sum())
    assert row["dice"] == pytest.approx(dice)
    assert row["reference_ml"] == pytest.approx(mask.sum() / 1000)


def test_mirrored_validation_is_what_segment_mirror_gives(sheet, tmp_path):
    """The stored model and the card's axes give the table's Dice; then without --mirror again."""
    words = [sheet, "--out", tmp_path, *SMALL, "--iterations", 4, "--fold", 1, "--flip", "0,2",
             "--optimiser", "sgd", "--momentum", 0.9]  # fmt: skip
    run(*words, "--mirror")
    folder = tmp_path / "fold-1"
    model = load_model(folder / "model", "cpu")
    assert model.card["mirror_axes"] == [0, 2]
    assert model.card["validation"] == {"mirror": True}
    assert model.card["settings"]["momentum"] == 0.9
    text = (folder / "model/model_card.md").read_text("utf-8")
    assert "Each is the mean over mirrored images." in text
    assert "rate 0.01, momentum 0.9" in text
    table = read_table(folder / "validation.tsv")
    mirrored, plain = (
        [dice_of(model, sheet, row, mirror) for _, row in table.iterrows()]
        for mirror in (True, False)
    )
    assert mirrored != plain
    assert table["dice"].tolist() == pytest.approx(mirrored)
    weights = (folder / "model/weights.safetensors").read_bytes()
    run(*words)  # complete, but for the way of measuring
    assert read_table(folder / "validation.tsv")["dice"].tolist() == pytest.approx(plain)
    assert (folder / "model/weights.safetensors").read_bytes() == weights
    assert load_model(folder / "model", "cpu").card["validation"] == {"mirror": False}


def dice_of(model, sheet, row, mirror):
    image = read_volume(sheet.parent / "images" / row["image"])
    mask = read_labels(sheet.parent / "masks" / row["image"]).data == LABELS[row["label"]]
    labels = predict(image, [model], PredictSettings(mirror=mirror)).labels.data
    found = labels == LABELS[row["label"]]
    return 2 * (mask & found).sum() / (mask.sum() + found.sum())


def test_the_summary_is_over_the_folds_that_are_there(trained):
    summary = read_table(trained / "summary.tsv")
    assert summary["fold"].tolist() == ["0", "0", "2", "2", "all", "all"]
    assert summary["cases"].tolist() == [2, 2, 2, 2, 4, 4]
    tables = [read_table(trained / f"fold-{n}/validation.tsv") for n in (0, 2)]
    dice = np.concatenate([t[t["label"] == "shell"]["dice"] for t in tables])
    last = summary[(summary["fold"] == "all") & (summary["label"] == "shell")].iloc[0]
    assert last["dice_mean"] == pytest.approx(dice.mean())
    assert last["dice_sd"] == pytest.approx(dice.std(ddof=1))


def test_the_same_command_finds_nothing_to_do(trained, sheet):
    before = {
        p: p.stat().st_mtime_ns for p in trained.rglob("*") if p.is_file() and "lock" not in p.name
    }
    run(sheet, "--out", trained, *SMALL, "--iterations", 6, "--validate-every", 3, "--fold", "0",
        "--licence", "CC0")  # fmt: skip
    assert before == {p: p.stat().st_mtime_ns for p in before}


def test_other_settings_are_refused(trained, sheet):
    with pytest.raises(SettingsError, match=r"settings.iterations 6 there, 8 now.*another --out"):
        run(sheet, "--out", trained, *SMALL, "--iterations", 8, "--validate-every", 3, "--fold", 0)


def test_plan_only_prints(sheet, tmp_path):
    done = run(sheet, "--out", tmp_path / "none", *SMALL, "--plan")
    assert not (tmp_path / "none").exists()
    assert "6" in done.stdout.splitlines()[0] or "4" in done.stdout.splitlines()[0]
    assert "12 x 12 x 12 voxels" in done.stdout
    assert "0: 2, 1: 2, 2: 2" in done.stdout


def test_every_subject_trains_a_final_model(sheet, tmp_path):
    done = run(sheet, "--out", tmp_path, *SMALL, "--iterations", 2, "--fold", "none")
    assert done.stdout.strip() == str(tmp_path)
    assert not (tmp_path / "final/validation.tsv").exists()
    card = load_model(tmp_path / "final/model", "cpu").card
    assert card["training_data"]["subjects"] == 6
    assert card["metrics"] == {}
    text = (tmp_path / "final/model/model_card.md").read_text("utf-8")
    assert "densehighres3dnet for shell, core: every subject of the sheet" in text
    assert "every subject of the sheet trained, so nobody in it was left" in text


def test_labels_are_found_and_images_that_do_not_fit_are_told_at_once(sheet, tmp_path):
    done = run(sheet, "--out", tmp_path, "--network", "densehighres3dnet", "--plan")
    assert "label1=1" in done.stdout
    from pipeline.io import write_volume
    from pipeline.types import Geometry, Volume

    lines = sheet.read_text("utf-8").splitlines()
    image, mask = make_case(0)
    moved = Geometry(mask.grid.shape, mask.grid.spacing_mm, (9.0, 0.0, 0.0), mask.grid.direction)
    for number in (0, 1):
        write_volume(tmp_path / f"images/s{number}.nii.gz", image)
        write_volume(tmp_path / f"masks/s{number}.nii.gz", Volume(mask.data, moved))
    bad = tmp_path / "bad.tsv"
    bad.write_text("\n".join(lines[:3]) + "\n", encoding="utf-8")
    with pytest.raises(CohortError) as caught:
        run(bad, "--out", tmp_path / "o", *SMALL)
    assert len(caught.value.problems) == 2
    assert "9 mm apart" in caught.value.problems[1]


def test_the_same_image_under_two_subjects_is_refused_across_folds(tmp_path):
    path = write_sheet(tmp_path, 4, column={"fold": ["0", "0", "1", "1"]})
    (tmp_path / "images/s3.nii.gz").write_bytes((tmp_path / "images/s0.nii.gz").read_bytes())
    with pytest.raises(
        CohortError, match=r"image of s3 .fold 1. has the same voxels as that of s0"
    ):
        run(path, "--out", tmp_path / "o", *SMALL)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--labels", "core"], "--labels core"),
        (["--loss", "x"], "losses"),
        (["--rounds", "dice"], "--rounds dice"),
        (["--fold", "7"], "no fold 7"),
        (["--patch", "1,2"], "--patch 1,2"),
        (["--network", "x"], "network 'x'"),
        (["--option", "width"], "--option width"),
        (["--flip", "5"], "--flip 5"),
        (["--augment", "wild"], "augment 'wild': unknown; use one of none, light, usual, strong"),
        (["--optimiser", "sgd", "--momentum", "1"], "momentum 1"),
        (["--device", "tpu"], "--device tpu"),
    ],
)
def test_flags_without_meaning(sheet, tmp_path, flags, said):
    with pytest.raises(MedpipeError, match=said):
        run(sheet, "--out", tmp_path, *SMALL, *flags, "--plan")


def test_a_gpu_out_of_memory_names_the_flags(sheet, tmp_path, monkeypatch):
    import torch

    from pipeline.segment.training.loop import Trainer

    def fail(*_, **__):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(Trainer, "_step", fail)
    with pytest.raises(MedpipeError, match=r"training: out of memory; give a smaller --batch or"):
        run(sheet, "--out", tmp_path, *SMALL, "--iterations", 1, "--fold", 0)


@pytest.mark.slow
def test_killed_at_any_moment_the_same_command_gives_the_same_weights(sheet, tmp_path):
    command = [sys.executable, "-m", "cli.main", "train", str(sheet), *SMALL, "--fold", "1",
               "--iterations", "60", "--validate-every", "5"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/src:{ROOT}", "OMP_NUM_THREADS": "1"}
    where = {"cwd": ROOT, "env": environment, "capture_output": True}
    subprocess.run([*command, "--out", str(tmp_path / "whole")], check=True, **where)
    out = tmp_path / "killed"
    checkpoint = out / "fold-1/checkpoint.safetensors"
    seen, kills = None, 0
    while kills < 3:
        with subprocess.Popen(
            [*command, "--out", str(out)], cwd=ROOT, env=environment, stderr=subprocess.PIPE
        ) as child:
            while child.poll() is None:
                now = checkpoint.stat().st_mtime_ns if checkpoint.exists() else None
                if now != seen:
                    time.sleep(0.02 * kills)
                    break
                time.sleep(0.001)
            assert child.poll() is None, child.stderr.read().decode()
            child.send_signal(signal.SIGKILL)
        seen, kills = checkpoint.stat().st_mtime_ns, kills + 1
        assert not (out / "fold-1/model/model.json").exists()
    subprocess.run([*command, "--out", str(out)], check=True, **where)
    weights = "fold-1/model/weights.safetensors"
    assert (out / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()
    assert not list(out.rglob("*.tmp"))
