"""`medpipe networks`, and what `medpipe train` has for it: from sheets to a table and a page."""

import shutil

import pytest
import torch
from typer.testing import CliRunner

from cli.main import app
from pipeline.config import parse_config
from pipeline.errors import CohortError, SettingsError
from pipeline.io import read_table, write_json, write_volume
from pipeline.io.tensors import read_tensors, write_tensors
from pipeline.model_folder import load_model, save_model
from pipeline.segment.networks import build
from pipeline.segment.plan import Intensity, Plan
from tests.unit.segment.training.phantom import LABELS, make_case

NAMED = ("--labels", "shell=1,core=2")


def run(*arguments):
    """Run a verb; what it raises passes through."""
    done = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout.strip()


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Six subjects, the last two of them test rows."""
    folder = tmp_path_factory.mktemp("cohort")
    images = ["subject\tsession\tcontrast\timage\tmask"]
    subjects = ["subject\tsplit\tcentre"]
    for n in range(6):
        image, mask = make_case(n)
        write_volume(folder / f"{n}.nii.gz", image)
        write_volume(folder / f"{n}_mask.nii.gz", mask)
        images.append(f"s{n}\tbaseline\tct\t{n}.nii.gz\t{n}_mask.nii.gz")
        subjects.append(f"s{n}\t{'test' if n > 3 else 'development'}\tx")
    (folder / "images.tsv").write_text("\n".join(images) + "\n", encoding="utf-8")
    (folder / "subjects.tsv").write_text("\n".join(subjects) + "\n", encoding="utf-8")
    return folder


def make_part(cohort, out, name, *more):
    return run(
        "networks", "part", "--images", cohort / "images.tsv", "--subjects",
        cohort / "subjects.tsv", "--contrast", "ct", "--name", name, "--out", out, *NAMED, *more,
    )  # fmt: skip


def test_a_part_is_two_sheets_that_share_nobody(cohort, tmp_path):
    make_part(cohort, tmp_path, "test", "--validation", 0.25)
    training, held_out = (read_table(tmp_path / f"{n}.tsv") for n in ("training", "held_out"))
    assert held_out["subject"].tolist() == ["s4", "s5"]
    assert training["subject"].tolist() == ["s0", "s1", "s2", "s3"]
    assert sorted(training["fold"]) == [0, 1, 1, 1]
    assert (tmp_path / training["image"][0]).resolve() == (cohort / "0.nii.gz").resolve()
    assert "fold" not in held_out


def test_only_subjects_that_passed_the_screen_take_part(cohort, tmp_path):
    included = tmp_path / "included.tsv"
    included.write_text("subject\ns0\ns1\ns2\ns4\n", encoding="utf-8")
    make_part(cohort, tmp_path, "fold0", "--folds", 2, "--included", included)
    training, held_out = (read_table(tmp_path / f"{n}.tsv") for n in ("training", "held_out"))
    assert "fold" not in training
    assert sorted([*training["subject"], *held_out["subject"]]) == ["s0", "s1", "s2", "s4"]


def test_an_image_under_two_names_in_two_sets_is_refused(cohort, tmp_path):
    twins = tmp_path / "twins"
    shutil.copytree(cohort, twins)
    shutil.copy(twins / "0.nii.gz", twins / "5.nii.gz")
    with pytest.raises(CohortError, match="same voxels"):
        make_part(twins, tmp_path / "out", "test")


def test_predictions_become_a_table_and_a_page(cohort, tmp_path):
    study = tmp_path / "lung"
    plan = Plan("densehighres3dnet", LABELS, (2.0, 2.0, 2.0), (8, 8, 8),
                Intensity("dataset", 250.0, 550.0, 330.0, 60.0), 1, 3, {"version": 1})  # fmt: skip
    card = {
        "training": {"iterations": 1, "minutes": 0.1, "kept": "last weights", "kept_iteration": 1},
        "training_data": {"subjects": 3},
    }
    for fold in ("fold0", "fold1"):
        part = study / "networks" / fold
        make_part(cohort, part, fold, "--folds", 2)
        torch.manual_seed(1)
        network = build(plan.network, channels=1, classes=3, options=plan.options)
        save_model(part / "v1/final/model", plan, network.state_dict(), card)
        models = ("--model", part / "v1/final/model")
        for row, chosen in (("v1", models), ("mean", models * 2)):
            told = run("networks", "predict", part / "held_out.tsv", *chosen, "--out",
                       study / "predictions" / fold / row, "--device", "cpu")  # fmt: skip
            assert told.endswith("pairs.tsv")
    for row in ("v1", "mean"):
        folder = study / "evaluation/folds" / row
        sheets = [study / "predictions" / fold / row / "pairs.tsv" for fold in ("fold0", "fold1")]
        run("networks", "pairs", *sheets, "--out", folder / "pairs.tsv")
        assert read_table(folder / "pairs.tsv")["subject"].tolist() == [f"s{n}" for n in range(6)]
        run("evaluate", "--sheet", folder / "pairs.tsv", *NAMED, "--out", folder, "--draws", 100,
            "--pictures", 0)  # fmt: skip
    settings = {
        "target": "results/lung.tsv",
        "images": str(cohort / "images.tsv"),
        "subjects": str(cohort / "subjects.tsv"),
        "networks": {
            "layout": "lungtumor",
            "labels": LABELS,
            "folds": 2,
            "arms": {"v1": {"title": "Version 1", "network": "densehighres3dnet"}},
            "ensembles": {"mean": {"title": "Mean", "members": ["v1", "v1"]}},
            "pictures": 1,
        },
    }
    parse_config({"studies": {"lung": settings}})
    write_json(study / "settings.json", {"study": "lung", "seed": 1, "settings": settings})
    run("networks", "report", "--study-dir", study, "--out", study / "report.html",
        "--out-table", tmp_path / "lung.tsv")  # fmt: skip
    table = read_table(tmp_path / "lung.tsv")
    assert table["method"].tolist() == ["v1", "v1", "mean", "mean"]
    assert table["structure"].tolist() == ["shell", "core"] * 2
    assert (table["n"] == 6).all()
    cases = read_table(study / "evaluation/folds/v1/cases.tsv")
    core = cases.loc[cases["structure"] == "core", "dice_3d"]
    assert table["dice_3d_mean"][1] == pytest.approx(core.mean())
    # The mean of a network with itself is that network.
    assert table["dice_3d_mean"][1] == pytest.approx(table["dice_3d_mean"][3])
    page = (study / "report.html").read_text("utf-8")
    assert "Version 1: core" in page
    assert "data:image/png" in page  # the worst case


def test_a_case_that_is_held_out_twice_is_refused(cohort, tmp_path):
    sheet = "subject\treference\tprediction\ns0\ta.nii.gz\tb.nii.gz\n"
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "pairs.tsv").write_text(sheet, encoding="utf-8")
        for n, name in enumerate("ab"):
            shutil.copy(cohort / f"{n}_mask.nii.gz", tmp_path / folder / f"{name}.nii.gz")
    with pytest.raises(CohortError, match="s0 stands also in"):
        run("networks", "pairs", tmp_path / "one/pairs.tsv", tmp_path / "two/pairs.tsv",
            "--out", tmp_path / "pairs.tsv")  # fmt: skip


def test_training_starts_from_vgg16_and_leaves_its_first_layers_alone(cohort, tmp_path):
    make_part(cohort, tmp_path, "test")
    options = {"width": 1 / 64, "padding": 1, "pretrained": True}
    plain = build("psnet", channels=1, classes=3, options=options)
    weights = {}
    for stage, places in {"conv1": (0, 2), "conv2": (5, 7), "conv3": (10, 12, 14),
                          "conv4": (17, 19, 21), "conv5": (24, 26, 28)}.items():  # fmt: skip
        layers = [m for m in plain.layers[stage] if isinstance(m, torch.nn.Conv2d)]
        for place, layer in zip(places, layers, strict=True):
            weights[f"features.{place}"] = layer
    weights |= {"classifier.0": plain.layers["fc6"][0], "classifier.3": plain.layers["fc7"][0]}
    generator = torch.Generator().manual_seed(3)
    tensors = {
        f"{name}.{kind}": torch.rand(value.shape, generator=generator)
        for name, layer in weights.items()
        for kind, value in (
            ("weight", layer.weight.flatten(1) if name[0] == "c" else layer.weight),
            ("bias", layer.bias),
        )
    }
    write_tensors(tmp_path / "vgg16.safetensors", tensors)
    command = ("train", tmp_path / "training.tsv", "--out", tmp_path / "out", *NAMED, "--network",
               "psnet", "--option", "width=0.015625", "--option", "padding=1", "--fold", "none",
               "--folds", 2, "--iterations", 1, "--batch", 1, "--vgg16",
               tmp_path / "vgg16.safetensors")  # fmt: skip
    run(*command)
    model = load_model(tmp_path / "out/final/model", "cpu")
    assert model.plan.options["pretrained"] is True
    kept = read_tensors(tmp_path / "out/final/model/weights.safetensors")
    assert torch.equal(kept["layers.conv1.0.weight"], tensors["features.0.weight"])
    assert torch.equal(kept["layers.conv5.4.weight"], tensors["features.28.weight"])
    # Other weights to start from are other settings: refused, unless asked to begin anew.
    write_tensors(tmp_path / "vgg16.safetensors", {n: t + 1 for n, t in tensors.items()})
    with pytest.raises(SettingsError, match="--replace to begin anew"):
        run(*command)
    run(*command, "--replace")
    kept = read_tensors(tmp_path / "out/final/model/weights.safetensors")
    assert torch.equal(kept["layers.conv1.0.weight"], tensors["features.0.weight"] + 1)
