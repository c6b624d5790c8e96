import csv
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from cli.main import app
from pipeline.errors import GeometryError, ImageError, SettingsError
from pipeline.io import read_field, read_json, read_mask, read_volume, write_volume
from pipeline.registration.fields import displacement_at, grid_points, warp_labels
from pipeline.types import Volume

FAST = ["--no-inverse-consistency", "--no-pictures", "--quiet"]
#: Their mean lies a whole number of voxels from each, so that labels move exactly.
SHIFTS = np.array([[0.0, 0.0, 0.0], [6.0, -2.0, 2.0], [0.0, -4.0, 4.0]])


def run(verb, *arguments):
    return CliRunner().invoke(app, [verb, *map(str, arguments)])


def rows(path):
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def save(path, data, grid):
    write_volume(path, Volume(data.astype(np.float32), grid))
    return path


@pytest.fixture
def shrinking(tmp_path, lesion_case):
    """Three visits of a lesion that shrinks, each with noise of its own, and the truth."""
    cases = [lesion_case(strength=s, noise=0.0) for s in (0.15, 0.3)]
    rng = np.random.default_rng(5)
    grid = cases[0].fixed.grid
    visits = (cases[0].fixed.data, cases[0].moving.data, cases[1].moving.data)
    paths = [
        save(tmp_path / f"{n}.nii.gz", data + rng.normal(0, 4.0, data.shape), grid)
        for n, data in enumerate(visits, start=1)
    ]
    write_volume(tmp_path / "mask.nii.gz", Volume(cases[0].mask, grid))
    return tmp_path, paths, [case.jacobian[case.mask].mean() for case in cases]


def test_a_sequence_tells_the_course_of_a_shrinking_lesion(shrinking):
    folder, paths, truth = shrinking
    mask = folder / "mask.nii.gz"
    done = run("register-visits", *paths, "--scheme", "sequence", "--mask", mask, "--out",
               folder / "out", "--sessions", "base,month3,month6", *FAST)  # fmt: skip
    assert done.exit_code == 0, done.exception
    table = rows(folder / "out/visits.tsv")
    assert [row["session"] for row in table] == ["base", "month3", "month6"]
    found = [float(row["mean_jacobian"]) for row in table]
    assert found == pytest.approx([1.0, *truth], rel=0.04)
    # The step's own Jacobian in the lesion carried along is the ratio of the true volumes.
    step = float(table[2]["mean_jacobian_step"])
    assert step == pytest.approx(truth[1] / truth[0], rel=0.05)
    assert float(table[1]["mean_jacobian_step"]) == found[1]
    inside = read_mask(mask).data > 0
    last = folder / "out/ses-month6"
    assert read_volume(last / "jacobian.nii.gz").data[inside].mean() == pytest.approx(found[2])
    assert (last / "step_jacobian.nii.gz.prov.json").is_file()
    field, back = (read_field(last / f"{n}.nii.gz") for n in ("displacement", "inverse"))
    points = grid_points(field.grid)[8:-8, 8:-8, 8:-8]
    there = points + displacement_at(field, points)
    assert np.abs(there + displacement_at(back, there) - points).max() < 0.3

    # The same by one visit more: the files that the workflow makes.
    known, once = folder / "out/ses-month3", folder / "next"
    done = run("register-next", *paths, "--known", known, "--fixed-mask", mask, "--out", once,
               *FAST)  # fmt: skip
    assert done.exit_code == 0, done.exception
    again = read_volume(once / "jacobian.nii.gz").data
    assert again == pytest.approx(read_volume(last / "jacobian.nii.gz").data, abs=1e-3)
    assert read_json(once / "metrics.json")["mean_jacobian"] == pytest.approx(found[2], abs=1e-4)
    wrong = run("register-next", *paths, "--known", folder, "--out", folder / "wrong", *FAST)
    assert wrong.exit_code != 0
    assert not (folder / "wrong").exists()


@pytest.fixture
def shifted(tmp_path, lesion_case):
    """One image at three places, each with the lesion as label 3."""
    case = lesion_case(noise=0.0)
    grid = case.fixed.grid
    files = []
    for n, by in enumerate(SHIFTS, start=1):
        there = replace(grid, origin_mm=tuple(np.asarray(grid.origin_mm) + by))
        label = tmp_path / f"label{n}.nii.gz"
        write_volume(label, Volume(case.mask.astype(np.int16) * 3, there))
        files.append((save(tmp_path / f"image{n}.nii.gz", case.fixed.data, there), label))
    return tmp_path, files


def centre(volume):
    return grid_points(volume.grid)[volume.data > 0].mean(axis=0)


def test_a_template_lies_in_the_middle_of_shifted_images(shifted):
    folder, files = shifted
    labels = [part for _, label in files for part in ("--labels", label)]
    images = [image for image, _ in files]
    arguments = ["register-visits", *images, *labels, "--scheme", "groupwise", "--mask",
                 files[1][1], "--reference", "2", "--deformable", "none", *FAST]  # fmt: skip
    done = run(*arguments, "--out", folder / "out")
    assert done.exit_code == 0, done.exception
    mean = SHIFTS.mean(axis=0)
    for n, by in enumerate(SHIFTS, start=1):
        field = read_field(folder / f"out/ses-{n}/displacement.nii.gz")
        assert np.abs(field.data[5:-5, 5:-5, 5:-5] - (by - mean)).max() < 0.25
    first = read_mask(files[0][1])
    expected = centre(first) + mean - SHIFTS[0]
    for name in ("template_mask", "template_labels", "ses-3/warped_labels"):
        volume = read_volume(folder / f"out/{name}.nii.gz")
        assert centre(volume) == pytest.approx(expected, abs=0.3), name
    assert set(np.unique(read_volume(folder / "out/template_labels.nii.gz").data)) == {0, 3}
    rounds = rows(folder / "out/template_rounds.tsv")
    moved = [float(row["change_p95_mm"]) for row in rounds]
    assert moved[0] == pytest.approx(np.linalg.norm(SHIFTS[1] - mean), abs=0.2)
    assert moved[-1] < 0.1
    record = read_json(folder / "out/template.nii.gz.prov.json")
    assert record["measured"]["converged"] is True
    assert [one["path"] for one in record["inputs"]][:3] == [path.name for path in images]
    assert run(*arguments, "--out", folder / "again").exit_code == 0
    for path in sorted((folder / "out").rglob("*")):
        if path.is_file() and not path.name.endswith(".prov.json"):
            twin = folder / "again" / path.relative_to(folder / "out")
            assert twin.read_bytes() == path.read_bytes(), path.name


def test_each_to_a_reference_in_the_middle(shifted):
    folder, files = shifted
    images = [image for image, _ in files]
    done = run("register-visits", *images, "--reference", "2", "--mask", files[1][1],
               "--deformable", "none", "--out", folder / "out", *FAST)  # fmt: skip
    assert done.exit_code == 0, done.exception
    assert not (folder / "out/ses-2").exists()
    for n in (1, 3):
        field = read_field(folder / f"out/ses-{n}/displacement.nii.gz")
        by = SHIFTS[n - 1] - SHIFTS[1]
        assert np.abs(field.data[5:-5, 5:-5, 5:-5] - by).max() < 0.25
        carried = warp_labels(read_mask(files[n - 1][1]), field)
        assert centre(carried) == pytest.approx(centre(read_mask(files[1][1])), abs=0.3)
    table = rows(folder / "out/visits.tsv")
    assert [row["session"] for row in table] == ["1", "2", "3"]
    assert [float(row["mean_jacobian"]) for row in table] == pytest.approx([1, 1, 1], abs=0.01)


def test_mistakes_write_nothing_and_name_what_is_wrong(shifted):
    folder, files = shifted
    images, out = [image for image, _ in files], folder / "out"
    flat = read_volume(images[0])
    save(folder / "flat.nii.gz", np.ones_like(flat.data), flat.grid)
    for arguments, error, words in (
        ([images[0]], SettingsError, "two or more"),
        ([*images, "--reference", "4"], SettingsError, "reference is image 4 and there are 3"),
        ([*images, "--sessions", "a,b"], SettingsError, "each of the 3 images a name"),
        ([*images, "--sessions", "a,b,../c"], SettingsError, "cannot name a folder"),
        ([*images, "--labels", files[0][1]], SettingsError, "given 1 times for 3 images"),
        ([*images, "--mask", files[1][1]], GeometryError, "label2.nii.gz"),
        ([*images[:2], folder / "flat.nii.gz"], ImageError, "flat.nii.gz is 1.0 in every voxel"),
    ):
        done = run("register-visits", *arguments, "--out", out, "--scheme", "sequence", *FAST)
        assert isinstance(done.exception, error), arguments
        assert words in str(done.exception)
        assert not out.exists()
