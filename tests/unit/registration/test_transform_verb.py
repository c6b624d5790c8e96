"""`medpipe transform` against SimpleITK and, where its Python is named, against ANTs."""

import json
import os
import subprocess

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from scipy import ndimage
from typer.testing import CliRunner

from cli.main import app
from pipeline.errors import GeometryError, MedpipeError, ReadError, SettingsError
from pipeline.geometry import from_sitk, index_to_world
from pipeline.io import (
    read_affine,
    read_field,
    read_table,
    read_volume,
    write_affine,
    write_field,
    write_table,
    write_volume,
)
from pipeline.registration.fields import affine_to_field, grid_points
from pipeline.types import DisplacementField, Geometry, Volume

MATRIX = np.array([[1.05, 0.08, 0, 4], [-0.06, 0.97, 0.03, -3], [0, 0.02, 0.98, 2], [0, 0, 0, 1.0]])


OBLIQUE = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1.0]])


def run(*arguments, ok=True):
    if arguments[0] == "apply" and "--outside" not in arguments:
        arguments = (*arguments, "--outside", 0)  # as SimpleITK and ANTs have it
    done = CliRunner().invoke(app, ["transform", *map(str, arguments), "--quiet"])
    assert (done.exit_code == 0) == ok, (done.output, done.exception)
    return done


def refused(*arguments) -> MedpipeError:
    error = run(*arguments, ok=False).exception
    assert isinstance(error, MedpipeError), error
    return error


def smooth_field(grid: Geometry, seed: int, sd_mm: float = 1.0) -> DisplacementField:
    rng = np.random.default_rng(seed)
    data = [ndimage.gaussian_filter(rng.standard_normal(grid.shape), 4) for _ in range(3)]
    field = np.stack(data, axis=-1)
    return DisplacementField((field * sd_mm / field.std()).astype(np.float32), grid)


def write_case(tmp_path, direction):
    """Write a fixed grid, a moving image on another grid, and two fields and an affine between."""
    fixed = Geometry((30, 28, 24), (1.5, 1.5, 2.0), (-10.0, 5.0, 8.0), direction)
    middle = index_to_world(fixed, (np.array(fixed.shape) - 1) / 2)
    corner = middle - direction @ (np.array([44, 42, 40]) * 0.75)
    moving = Geometry((60, 57, 40), (1.0, 1.0, 1.5), tuple(corner), direction)
    rng = np.random.default_rng(5)
    data = 100 + 400 * ndimage.gaussian_filter(rng.standard_normal(moving.shape), 1.5)
    write_volume(tmp_path / "moving.nii.gz", Volume(data.astype(np.float32), moving))
    write_volume(tmp_path / "fixed.nii.gz", Volume(np.zeros(fixed.shape, np.uint8), fixed))
    write_volume(tmp_path / "labels.nii.gz", Volume((data > 110).astype(np.int16) * 7, moving))
    write_field(tmp_path / "u.nii.gz", smooth_field(fixed, 1))
    start = tuple(middle - direction @ [38, 38, 37])
    large = Geometry((48, 48, 44), (1.6, 1.6, 1.7), start, direction)
    write_field(tmp_path / "v.nii.gz", smooth_field(large, 2))
    turn = np.eye(4)
    turn[:3, :3] = MATRIX[:3, :3]
    turn[:3, 3] = middle - MATRIX[:3, :3] @ middle + MATRIX[:3, 3] / 4
    write_affine(tmp_path / "a.tfm", turn)
    return tmp_path


@pytest.fixture
def case(grid, tmp_path):
    """The files of `write_case`, in each of four directions."""
    return write_case(tmp_path, grid.direction)


@pytest.fixture
def oblique_case(tmp_path):
    """The files of `write_case`, in one direction."""
    return write_case(tmp_path, OBLIQUE)


def itk_field(path) -> sitk.DisplacementFieldTransform:
    return sitk.DisplacementFieldTransform(sitk.ReadImage(str(path), sitk.sitkVectorFloat64))


def itk_warp(case, name: str, transform, kind=sitk.sitkLinear) -> np.ndarray:
    """Return what SimpleITK makes of the stored files on the fixed grid."""
    image = sitk.ReadImage(str(case / name))
    fixed = sitk.ReadImage(str(case / "fixed.nii.gz"))
    return from_sitk(sitk.Resample(image, fixed, transform, kind, 0.0, image.GetPixelID())).data


def chain_of(*transforms) -> sitk.CompositeTransform:
    """Return the composite that a fixed point goes through in this order; ITK's is the reverse."""
    return sitk.CompositeTransform(list(transforms[::-1]))


@pytest.mark.parametrize(
    ("name", "kind"),
    [("linear", sitk.sitkLinear), ("bspline3", sitk.sitkBSpline),
     ("lanczos", sitk.sitkLanczosWindowedSinc)],
)  # fmt: skip
def test_simpleitk_makes_the_same_image_of_one_field(case, name, kind):
    run("apply", case / "moving.nii.gz", case / "u.nii.gz", "--interpolation", name,
        "--out", case / "out.nii.gz")  # fmt: skip
    ours = read_volume(case / "out.nii.gz").data
    theirs = itk_warp(case, "moving.nii.gz", itk_field(case / "u.nii.gz"), kind)
    assert (ours != 0).mean() > 0.9
    assert np.abs(ours - theirs).max() < 0.05  # of an SD of 30; NIfTI rounds the grid's header


def test_field_then_affine_is_the_order_of_simpleitk_and_ants(case):
    run("apply", case / "moving.nii.gz", case / "u.nii.gz", case / "a.tfm", "--out",
        case / "out.nii.gz")  # fmt: skip
    ours = read_volume(case / "out.nii.gz").data
    affine = sitk.ReadTransform(str(case / "a.tfm"))
    theirs = itk_warp(case, "moving.nii.gz", chain_of(itk_field(case / "u.nii.gz"), affine))
    other = itk_warp(case, "moving.nii.gz", chain_of(affine, itk_field(case / "u.nii.gz")))
    near = (ours != 0) & (theirs != 0)
    assert near.mean() > 0.8
    assert np.abs(ours - theirs)[near].max() < 0.05
    assert np.abs(ours - other)[near].max() > 1.0  # the other order is another image


def test_two_fields_compose_to_simpleitks_composite(case):
    done = run("compose", case / "u.nii.gz", case / "v.nii.gz", case / "a.tfm", "--out",
               case / "w.nii.gz")  # fmt: skip
    assert "exact at the voxels" in done.output
    found = read_field(case / "w.nii.gz")
    whole = chain_of(itk_field(case / "u.nii.gz"), itk_field(case / "v.nii.gz"),
                     sitk.ReadTransform(str(case / "a.tfm")))  # fmt: skip
    points = grid_points(found.grid).reshape(-1, 3)[::37]
    theirs = np.array([whole.TransformPoint(p.tolist()) for p in points])
    ours = points + found.data.reshape(-1, 3)[::37]
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    record = json.loads((case / "w.nii.gz.prov.json").read_text())["measured"]
    middle = grid_points(found.grid)[4:-5, 4:-5, 4:-5].reshape(-1, 3)[::53]
    middle = middle + found.grid.direction @ (np.array(found.grid.spacing_mm) / 2)
    stored = itk_field(case / "w.nii.gz")
    error = [np.subtract(stored.TransformPoint(p.tolist()), whole.TransformPoint(p.tolist()))
             for p in middle]  # fmt: skip
    measured = np.linalg.norm(error, axis=1).mean()
    assert record["between_voxels_mean_mm"] == pytest.approx(measured, rel=0.25)


def test_affine_chains_become_one_matrix(oblique_case):
    case = oblique_case
    run("compose", case / "a.tfm", f"{case / 'a.tfm'},-1", f"[{case / 'a.tfm'},0]", "--out",
        case / "b.tfm")  # fmt: skip
    np.testing.assert_allclose(read_affine(case / "b.tfm"), read_affine(case / "a.tfm"), atol=1e-12)
    run("invert", case / "a.tfm")
    inverse = read_affine(case / "a_inverse.tfm")
    np.testing.assert_allclose(inverse @ read_affine(case / "a.tfm"), np.eye(4), atol=1e-12)


def test_inverse_written_to_a_file_undoes_the_field_in_simpleitk(case):
    done = run("invert", case / "u.nii.gz", "--out", case / "back.nii.gz")
    assert "error mean" in done.output
    there, back = itk_field(case / "u.nii.gz"), itk_field(case / "back.nii.gz")
    grid = read_field(case / "u.nii.gz").grid
    points = grid_points(grid)[6:-6, 6:-6, 6:-6].reshape(-1, 3)[::41]
    again = [there.TransformPoint(back.TransformPoint(p.tolist())) for p in points]
    assert np.linalg.norm(np.array(again) - points, axis=1).max() < 0.01


def test_inverted_link_equals_the_inverse_field(oblique_case):
    case = oblique_case
    run("compose", case / "v.nii.gz", f"{case / 'v.nii.gz'},-1", "--out", case / "id.nii.gz")
    data = read_field(case / "id.nii.gz").data
    assert np.percentile(np.linalg.norm(data, axis=-1), 95) < 0.004


def test_landmarks_go_with_the_chain_and_backwards_to_where_they_came_from(case):
    grid = read_field(case / "u.nii.gz").grid
    points = index_to_world(grid, np.random.default_rng(0).uniform(8, 15, (12, 3)))
    table = pd.DataFrame(points, columns=["x_mm", "y_mm", "z_mm"])
    table.insert(0, "name", [f"p{n}" for n in range(12)])
    write_table(case / "p.tsv", table)
    run("apply", case / "p.tsv", case / "u.nii.gz", case / "a.tfm")
    moved = read_table(case / "p_moved.tsv")
    whole = chain_of(itk_field(case / "u.nii.gz"), sitk.ReadTransform(str(case / "a.tfm")))
    theirs = [whole.TransformPoint(p.tolist()) for p in points]
    np.testing.assert_allclose(moved[["x_mm", "y_mm", "z_mm"]], theirs, atol=1e-4)
    assert moved["covered"].all()
    assert list(moved["name"]) == list(table["name"])
    run("apply", case / "p_moved.tsv", case / "u.nii.gz", case / "a.tfm", "--backwards",
        "--out", case / "back.csv")  # fmt: skip
    back = read_table(case / "back.csv")
    np.testing.assert_allclose(back[["x_mm", "y_mm", "z_mm"]], points, atol=0.005)


def test_labels_are_drawn_by_nearest_and_keep_their_type(case):
    run("apply", case / "labels.nii.gz", case / "u.nii.gz", "--labels", "--out", case / "l.nii.gz")
    ours = read_volume(case / "l.nii.gz").data
    assert ours.dtype == np.int16
    assert set(np.unique(ours)) == {0, 7}
    kind = sitk.sitkNearestNeighbor
    theirs = itk_warp(case, "labels.nii.gz", itk_field(case / "u.nii.gz"), kind)
    assert np.mean(ours != theirs) < 1e-3


def test_labels_are_not_blended_by_mistake(oblique_case):
    case = oblique_case
    error = refused("apply", case / "labels.nii.gz", case / "u.nii.gz")
    assert isinstance(error, SettingsError)
    assert "--labels" in str(error)
    run("apply", case / "labels.nii.gz", case / "u.nii.gz", "--image")
    assert read_volume(case / "labels_warped.nii.gz").data.dtype == np.float32
    error = refused("apply", case / "moving.nii.gz", case / "u.nii.gz", "--labels")
    assert "not whole numbers" in str(error)


def test_value_outside_the_moving_image(oblique_case):
    case = oblique_case
    moving = read_volume(case / "moving.nii.gz")
    grid = moving.grid
    half = Geometry((20, *grid.shape[1:]), grid.spacing_mm, grid.origin_mm, grid.direction)
    write_volume(case / "small.nii.gz", Volume(moving.data[:20], half))
    for value in (-1000.0, 12.5):
        run("apply", case / "small.nii.gz", case / "u.nii.gz", "--outside", value)
        found = read_volume(case / "small_warped.nii.gz").data
        assert 0.2 < np.mean(found == value) < 0.9
    arguments = ["transform", "apply", str(case / "small.nii.gz"), str(case / "u.nii.gz")]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    least = read_volume(case / "small_warped.nii.gz").data == moving.data[:20].min()
    np.testing.assert_array_equal(least, found == value)


def test_fields_of_other_formats_are_read(oblique_case):
    case = oblique_case
    image = sitk.ReadImage(str(case / "u.nii.gz"))
    for ending in ("mha", "nrrd"):
        sitk.WriteImage(image, str(case / f"u.{ending}"), True)
        run("apply", case / "moving.nii.gz", case / f"u.{ending}", "--out", case / "o.nii.gz")
        ours = read_volume(case / "o.nii.gz").data
        theirs = itk_warp(case, "moving.nii.gz", itk_field(case / f"u.{ending}"))
        assert np.abs(ours - theirs).max() < 0.05


def test_what_cannot_be_done_is_said_and_nothing_written(oblique_case):
    case = oblique_case
    far = Geometry((10, 10, 10), (1.0, 1.0, 1.0), (900.0, 0.0, 0.0), np.eye(3))
    write_field(case / "far.nii.gz", affine_to_field(np.eye(4), far))
    before = set(case.iterdir())
    error = refused("compose", case / "u.nii.gz", case / "far.nii.gz", "--out", case / "w.nii.gz")
    assert isinstance(error, GeometryError)
    assert "far.nii.gz: no point of the output grid reaches this field" in str(error)
    assert "x 900 to 909" in str(error)
    error = refused("apply", case / "moving.nii.gz", case / "far.nii.gz")
    assert "sends no point of the output grid into this image" in str(error)
    error = refused("apply", case / "moving.nii.gz", case / "a.tfm")
    assert "--like" in str(error)
    error = refused("apply", case / "moving.nii.gz", case / "moving.nii.gz")
    assert "not a displacement field" in str(error)
    error = refused("compose", case / "u.nii.gz", "--out", case / "u.tfm")
    assert "no affine" in str(error)
    error = refused("apply", case / "moving.nii.gz", case / "u.nii.gz", "--interpolation", "cubic")
    assert "choose one of linear" in str(error)
    assert set(case.iterdir()) == before


def test_slices_and_broken_points_are_refused(oblique_case):
    case = oblique_case
    grid = Geometry((30, 28, 1), (1.5, 1.5, 2.0), (0.0, 0.0, 0.0), np.eye(3))
    write_volume(case / "slice.nii.gz", Volume(np.random.default_rng(0).normal(size=grid.shape),
                                               grid))  # fmt: skip
    assert "3-D; give the whole volume" in str(
        refused("apply", case / "slice.nii.gz", case / "u.nii.gz")
    )
    flat = sitk.GetImageFromArray(np.zeros((1, 5, 5, 3)), isVector=True)
    sitk.WriteImage(flat, str(case / "flat.nii.gz"))
    assert "3-D field" in str(refused("invert", case / "flat.nii.gz"))
    (case / "p.csv").write_text("x_mm,y_mm\n1,2\n")
    error = refused("apply", case / "p.csv", case / "u.nii.gz")
    assert isinstance(error, ReadError)
    assert "no column z_mm" in str(error)
    (case / "p.csv").write_text("x_mm,y_mm,z_mm\n1,2,3\n1,2,\n")
    assert "row 2" in str(refused("apply", case / "p.csv", case / "u.nii.gz"))


def test_a_folding_field_is_refused_with_place_and_share_or_inverted_where_it_can_be(oblique_case):
    case = oblique_case
    grid = Geometry((24, 24, 24), (1.0, 1.0, 1.0), (5.0, 0.0, 0.0), np.eye(3))
    offset = grid_points(grid) - index_to_world(grid, (12.0, 12.0, 12.0))
    weight = np.exp(-np.sum(offset**2, axis=-1, keepdims=True) / 18.0)
    write_field(case / "fold.nii.gz", DisplacementField(-1.6 * weight * offset, grid))
    error = refused("invert", case / "fold.nii.gz")
    assert "folds at" in str(error)
    assert "voxel (" in str(error)
    done = run("invert", case / "fold.nii.gz", "--allow-folds", "--out", case / "back.nii.gz")
    assert "error mean" in done.output
    measured = json.loads((case / "back.nii.gz.prov.json").read_text())["measured"]
    assert measured["folding_voxels"] > 0


_ANTS = """
import sys, ants
moving, fixed, out, *chain = sys.argv[1:]
image = ants.apply_transforms(ants.image_read(fixed), ants.image_read(moving), chain,
                              interpolator="linear")
ants.image_write(image, out)
"""


@pytest.mark.slow
@pytest.mark.parametrize("chain", [["u.nii.gz"], ["u.nii.gz", "a.tfm"]])
def test_ants_makes_the_same_image(case, chain):
    python = os.environ.get("MEDPIPE_BENCH_PYTHON")
    if not python:
        pytest.skip("MEDPIPE_BENCH_PYTHON names no Python with antspyx")
    links = [str(case / name) for name in chain]
    run("apply", case / "moving.nii.gz", *links, "--out", case / "ours.nii.gz")
    subprocess.run(
        [python, "-c", _ANTS, case / "moving.nii.gz", case / "fixed.nii.gz", case / "ants.nii.gz",
         *links], check=True, capture_output=True,
    )  # fmt: skip
    ours = read_volume(case / "ours.nii.gz").data
    theirs = read_volume(case / "ants.nii.gz").data
    both = (ours != 0) & (theirs != 0)
    assert both.mean() > 0.8
    difference = np.abs(ours - theirs)[both]
    print(f"{chain}: ANTs differs by {difference.max():.2g} of an SD of {ours[both].std():.1f}")
    assert difference.max() < 0.05
