"""`medpipe register`: what it writes, and that it writes nothing when something is wrong."""

import dataclasses
import inspect
import json
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from typer.testing import CliRunner

from cli.main import app, main
from cli.register import register
from cli.register_next import register_next
from cli.register_pairs import register_pairs
from cli.register_visits import register_visits
from cli.registration_options import limit_threads
from cli.registration_pair import PairFiles, read_pair
from pipeline.config import RegisterSettings
from pipeline.errors import WriteError
from pipeline.io import read_affine, read_volume, write_series, write_volume
from pipeline.registration import engine
from pipeline.registration.engine import RegistrationSettings
from pipeline.types import Geometry, Series, Volume

VOLUMES = ("displacement.nii.gz", "inverse.nii.gz", "warped.nii.gz", "jacobian.nii.gz",
           "jacobian_log.nii.gz")  # fmt: skip
ALWAYS = {*VOLUMES, "affine.tfm", "metrics.json"}
PICTURES = {"checkerboard.png", "grid.png", "convergence.png"}
AFFINE = ["--deformable", "none", "--no-inverse-consistency", "--quiet"]


def run(*arguments):
    return CliRunner().invoke(app, ["register", *map(str, arguments)], catch_exceptions=False)


def names(folder):
    return {path.name for path in folder.iterdir() if not path.name.endswith(".prov.json")}


@pytest.fixture(scope="module")
def files(tmp_path_factory, lesion_case):
    """Two images, the lesion, and labels of 0, 7 and 300 on the moving image."""
    folder, case = tmp_path_factory.mktemp("pair"), lesion_case()
    for name, volume in (("base", case.fixed), ("later", case.moving)):
        image = Volume(volume.data.astype(np.float32), volume.grid)
        write_volume(folder / f"{name}.nii.gz", image)
    write_volume(folder / "mask.nii.gz", Volume(case.mask, case.fixed.grid))
    labels = np.where(case.mask, 300, 7 * (case.moving.data > 150)).astype(np.int16)
    write_volume(folder / "labels.nii.gz", Volume(labels, case.moving.grid))
    return folder


@pytest.fixture(scope="module")
def done(files):
    """A whole run, deformable and both ways."""
    found = run(files / "base.nii.gz", files / "later.nii.gz", "--quiet",
                "--fixed-mask", files / "mask.nii.gz",
                "--moving-labels", files / "labels.nii.gz")  # fmt: skip
    assert found.exit_code == 0, found.output
    folder = files / "later_to_base"
    assert found.output.strip().endswith(str(folder))
    return folder


def test_writes_everything_beside_the_moving_image(done):
    made = {*ALWAYS, *PICTURES, "warped_labels.nii.gz", "inverse_consistency.nii.gz"}
    assert names(done) == made
    assert all((done / f"{name}.prov.json").is_file() for name in made)
    assert read_affine(done / "affine.tfm").shape == (4, 4)
    for name in PICTURES:
        assert (done / name).read_bytes().startswith(b"\x89PNG")


def test_itk_repeats_our_warped_image_and_labels_from_the_written_field(done, files):
    field = sitk.ReadImage(str(done / "displacement.nii.gz"), sitk.sitkVectorFloat64)
    transform = sitk.DisplacementFieldTransform(field)
    for name, source, kind, outside in (
        ("warped", "later", sitk.sitkLinear, float(read_volume(files / "later.nii.gz").data.min())),
        ("warped_labels", "labels", sitk.sitkNearestNeighbor, 0.0),
    ):
        moving = sitk.ReadImage(str(files / f"{source}.nii.gz"))
        fixed = sitk.ReadImage(str(files / "base.nii.gz"))
        again = sitk.Resample(moving, fixed, transform, kind, outside)
        ours = sitk.ReadImage(str(done / f"{name}.nii.gz"))
        assert ours.GetPixelID() == moving.GetPixelID()
        off = np.abs(sitk.GetArrayFromImage(again) - sitk.GetArrayFromImage(ours).astype(float))
        assert (off > 0.02).mean() < 1e-3  # the stored field is float32
    assert set(np.unique(sitk.GetArrayFromImage(ours))) == {0, 7, 300}


def test_maps_and_numbers_agree(done, files):
    metrics = json.loads((done / "metrics.json").read_text())
    jacobian = read_volume(done / "jacobian.nii.gz").data.astype(float)
    mask = read_volume(files / "mask.nii.gz").data > 0
    assert metrics["mean_jacobian"] == pytest.approx(jacobian[mask].mean(), rel=1e-5)
    logarithm = read_volume(done / "jacobian_log.nii.gz").data
    np.testing.assert_allclose(np.exp(logarithm), jacobian, rtol=1e-5)
    there_and_back = read_volume(done / "inverse_consistency.nii.gz").data
    assert there_and_back.shape == jacobian.shape
    assert there_and_back.min() >= 0
    mean, p95 = (metrics[f"inverse_consistency_{n}_mm"] for n in ("mean", "p95"))
    assert 0 < mean < p95 < there_and_back.max()
    assert metrics["correlation_before"] < metrics["correlation_after"]
    assert "stages" in metrics
    assert metrics["folding_fraction"] == 0


def test_a_repeated_run_gives_the_same_bytes_and_leaves_nothing_of_another(files):
    arguments = [files / "base.nii.gz", files / "later.nii.gz", *AFFINE]
    for folder in ("one", "two"):
        extra = ["--moving-labels", files / "labels.nii.gz"] if folder == "two" else []
        assert run(*arguments, *extra, "--out", files / folder).exit_code == 0
    assert "warped_labels.nii.gz" in names(files / "two")
    (files / "two/step_jacobian.nii.gz").touch()  # of an earlier sequence of visits
    assert run(*arguments, "--out", files / "two").exit_code == 0
    assert names(files / "two") == names(files / "one") == ALWAYS | PICTURES
    assert not (files / "two/warped_labels.nii.gz.prov.json").exists()
    for name in ALWAYS | PICTURES:
        assert (files / "one" / name).read_bytes() == (files / "two" / name).read_bytes(), name


def test_without_pictures_nothing_that_draws_is_loaded(files):
    arguments = ["register", str(files / "base.nii.gz"), str(files / "later.nii.gz"), *AFFINE,
                 "--no-pictures", "--out", str(files / "plain")]  # fmt: skip
    code = (
        f"import sys; from cli.main import app; app({arguments!r}, standalone_mode=False); "
        "print({'matplotlib', 'PIL'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip().endswith("set()")
    assert names(files / "plain") == ALWAYS


def test_series_use_the_phase_nearest_to_the_time(files):
    base = read_volume(files / "base.nii.gz")
    data = np.stack([base.data[::-1], base.data, base.data * 0.5], axis=-1)
    write_series(files / "dce.nii.gz", Series(data, base.grid, (0.0, 170.0, 400.0)))
    found = run(files / "dce.nii.gz", files / "base.nii.gz", *AFFINE, "--no-pictures",
                "--out", files / "series")  # fmt: skip
    assert found.exit_code == 0, found.output
    metrics = json.loads((files / "series/metrics.json").read_text())
    assert metrics["fixed_time_s"] == 170.0
    assert "moving_time_s" not in metrics
    assert metrics["correlation_after"] > 0.99


def test_compared_is_what_lies_inside_the_one_mask_and_outside_the_other(files):
    base = read_volume(files / "base.nii.gz")
    body, lesion = base.data > 100, read_volume(files / "mask.nii.gz").data > 0
    write_volume(files / "body.nii.gz", Volume(body, base.grid))
    pair = PairFiles(
        files / "base.nii.gz",
        files / "later.nii.gz",
        compare_fixed=files / "body.nii.gz",
        ignore_fixed=files / "mask.nii.gz",
        ignore_moving=files / "mask.nii.gz",
    )
    images = read_pair(pair, 180.0)
    np.testing.assert_array_equal(images.fixed_compare.data, body & ~lesion)
    np.testing.assert_array_equal(images.moving_compare.data, ~lesion)
    plain = read_pair(PairFiles(pair.fixed, pair.moving), 180.0)
    assert plain.fixed_compare is plain.moving_compare is None


@pytest.mark.parametrize("verb", [register, register_pairs, register_visits, register_next])
def test_defaults_are_those_of_the_settings(verb):
    options = inspect.signature(verb).parameters
    fields = {f.name: f.default for f in dataclasses.fields(RegistrationSettings)}
    del fields["most_voxels"]
    fields["engine"] = inspect.signature(engine.register).parameters["engine"].default
    assert {name: options[name].default for name in fields} == fields
    assert RegisterSettings().engine == fields["engine"]


def test_threads_are_those_of_itk_and_of_torch():
    before = torch.get_num_threads(), sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    try:
        for threads in (2, 1):
            limit_threads(threads, "torch")
            assert torch.get_num_threads() == threads
            assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == threads
    finally:
        torch.set_num_threads(before[0])
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before[1])


@pytest.fixture(scope="module")
def broken(files):
    """Files that cannot be registered, beside the good ones."""
    base = read_volume(files / "base.nii.gz")
    grid = base.grid
    small = Geometry((20, *grid.shape[1:]), grid.spacing_mm, grid.origin_mm, grid.direction)
    slice_ = Geometry((*grid.shape[:2], 1), grid.spacing_mm, grid.origin_mm, grid.direction)
    away = Geometry(grid.shape, grid.spacing_mm, (900.0, 0.0, 0.0), grid.direction)
    hole = base.data.copy()
    hole[3, 4, 5] = np.nan
    for name, data, where in (
        ("flat", np.ones_like(base.data), grid), ("nan", hole, grid), ("away", base.data, away),
        ("slice", base.data[..., :1], slice_), ("small", base.data[:20] > 300, small),
        ("all", np.ones(grid.shape, bool), grid), ("halves", base.data * 0 + 0.5, grid),
    ):  # fmt: skip
        write_volume(files / f"{name}.nii.gz", Volume(data, where))
    (files / "cut.nii.gz").write_bytes((files / "base.nii.gz").read_bytes()[:5000])
    return files


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["{base}", "{flat}"], ["the moving image {flat} is 1.0 in every voxel"]),
        (["{flat}", "{base}"], ["the fixed image {flat} is 1.0 in every voxel"]),
        (["{base}", "{nan}"], ["{nan}: 1 of", "NaN or infinite"]),
        (["{base}", "{away}"], ["the fixed image {base} and the moving image {away} lie",
                                "do not overlap", "--align-centres"]),
        (["{base}", "{slice}"], ["the moving image {slice} has (40, 36, 1) voxels", "3-D"]),
        (["{base}", "{cut}"], ["{cut}:"]),
        (["{base}", "{missing}"], ["{missing}:"]),
        (["{base}", "{later}", "--fixed-mask", "{small}"],
         ["{base} has (40, 36, 34) voxels, {small} has (20, 36, 34)",
          "medpipe preprocess {small} --like {base}"]),
        (["{base}", "{later}", "--moving-mask", "{small}"], ["{later}", "{small} has (20,"]),
        (["{base}", "{later}", "--compare-fixed", "{small}"], ["{base}", "{small} has (20,"]),
        (["{base}", "{later}", "--ignore-moving", "{small}"], ["{later}", "{small} has (20,"]),
        (["{base}", "{later}", "--moving-labels", "{small}"], ["{later}", "{small} has (20,"]),
        (["{base}", "{later}", "--moving-labels", "{halves}"], ["{halves}: not labels", "0.5"]),
        (["{base}", "{later}", "--ignore-fixed", "{all}"], ["{all}: no voxel of {base} is left"]),
        (["{base}", "{later}", "--compare-within", "mask"], ["{later} onto {base}:", "fixed mask"]),
        (["{base}", "{later}", "--engine", "magic"], ["engine 'magic'", "simpleitk"]),
        (["{base}", "{later}", "--deformable", "magic"], ["deformable 'magic'", "bspline"]),
        (["{base}", "{later}", "--deformable", "diffeomorphic", "--engine", "simpleitk"],
         ["deformable 'diffeomorphic' belongs to the engine torch"]),
        (["{base}", "{later}", "--metric", "magic"], ["metric 'magic'", "ssd, lncc, mi"]),
        (["{base}", "{later}", "--device", "tpu"], ["device 'tpu'", "auto, cpu, cuda"]),
        (["{base}", "{later}", "--grid-mm", "0"], ["grid_mm is 0.0", "above 0"]),
    ],
)  # fmt: skip
def test_bad_input_is_named_and_nothing_is_written(broken, capsys, monkeypatch, options, words):
    stems = ("base", "later", "flat", "nan", "away", "slice", "cut", "missing", "small", "all",
             "halves")  # fmt: skip
    paths = {stem: broken / f"{stem}.nii.gz" for stem in stems}
    filled = [option.format(**paths) for option in options]
    out = broken / "never"
    monkeypatch.setattr(sys, "argv", ["medpipe", "register", *filled, "--out", str(out), "--quiet"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    for word in words:
        assert word.format(**paths) in told
    assert "Traceback" not in told
    assert not out.exists()


@pytest.mark.parametrize(
    "writer", ["pipeline.io.documents.write_json", "pipeline.provenance.write_sidecars"]
)
def test_a_disk_that_fills_up_leaves_no_half_of_a_result(files, monkeypatch, writer):
    def full(path, *, document=None, **_):
        raise WriteError(f"{path}: the disk is full")

    monkeypatch.setattr(writer, full)
    with pytest.raises(WriteError):
        run(files / "base.nii.gz", files / "later.nii.gz", *AFFINE, "--no-pictures",
            "--out", files / "full")  # fmt: skip
    assert list((files / "full").iterdir()) == []
