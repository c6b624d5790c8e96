"""`medpipe preprocess` and `medpipe dce` on small files."""

import json
from pathlib import Path

import numpy as np
import pytest

from cli.dce import dce
from cli.preprocess import preprocess
from pipeline.errors import GeometryError, MedpipeError, SettingsError
from pipeline.geometry import same_grid
from pipeline.io import read_json, read_mask, read_series, read_volume, write_series, write_volume
from pipeline.preprocess.grids import spaced_grid
from pipeline.preprocess.orientation import to_canonical
from pipeline.types import Geometry, Series, Volume

SHAPE = (32, 28, 12)
#: i runs to the right, k to the feet: not canonical.
GRID = Geometry(SHAPE, (2.0, 2.0, 4.0), (30.0, -20.0, 40.0), np.diag([-1.0, 1.0, -1.0]))
TIMES = (0.0, 90.0, 180.0)


def phases() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    axes = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij"))
    body = np.sqrt((axes**2).sum(0)) < 0.9
    field = np.exp(0.3 * axes[0])
    clean = [
        (100.0 * body + rise * lesion()) * field + rng.normal(0, 1.0, SHAPE)
        for rise in (0.0, 150.0, 120.0)
    ]
    return [image.astype(np.float32) for image in clean]


def lesion() -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[10:16, 12:17, 4:8] = True
    return mask


@pytest.fixture
def session(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"phase{n}.nii.gz" for n in range(3)]
    for path, data in zip(paths, phases(), strict=True):
        write_volume(path, Volume(data, GRID))
    write_volume(tmp_path / "lesion.nii.gz", Volume(lesion(), GRID))
    return paths


def test_one_image_needs_nothing_else(session, tmp_path, capsys):
    preprocess([session[0]])
    out = tmp_path / "phase0_preprocessed.nii.gz"
    assert capsys.readouterr().out.strip() == str(out)
    result = read_volume(out)
    assert result.grid.spacing_mm == (1.0, 1.0, 1.0)
    assert np.array_equal(result.grid.direction, np.eye(3))
    assert result.grid.shape == (64, 56, 48)
    assert result.data.dtype == np.float32
    record = json.loads((tmp_path / "phase0_preprocessed.nii.gz.prov.json").read_text())
    assert record["settings"]["spacing_mm"] == [1.0, 1.0, 1.0]
    assert record["settings"]["n4"]["shrink"] == 4
    low, high = record["measured"]["bias_field_range"]
    assert 0.5 < low < 0.9
    assert 1.1 < high < 2.0


def test_phases_become_one_series_with_one_field(session, tmp_path):
    out, field, mask = (tmp_path / f"{name}.nii.gz" for name in ("dce", "field", "mask"))
    preprocess(
        session, out=out, time_s="0,90,180", spacing_mm="2", out_bias_field=field,
        mask=tmp_path / "lesion.nii.gz", out_mask=mask,
    )  # fmt: skip
    series = read_series(out)
    assert series.time_s == TIMES
    assert same_grid(series.grid, read_mask(mask).grid)
    volumes = [
        m.data.sum() * m.grid.voxel_volume_mm3
        for m in (read_mask(mask), read_mask(tmp_path / "lesion.nii.gz"))
    ]
    assert volumes[0] == volumes[1]
    kept = read_volume(field)
    assert kept.grid.shape == SHAPE  # in canonical order, before resampling
    assert (tmp_path / "field.nii.gz.prov.json").is_file()
    again = tmp_path / "again.nii.gz"
    preprocess(
        session, out=again, time_s="0,90,180", spacing_mm="2", threads=2,
        mask=tmp_path / "lesion.nii.gz",
    )  # fmt: skip
    assert again.read_bytes() == out.read_bytes()


def test_a_series_file_is_read_as_one(session, tmp_path):
    stacked = tmp_path / "stacked.nii.gz"
    write_series(stacked, Series(np.stack(phases(), axis=-1), GRID, TIMES))
    preprocess(session, out=tmp_path / "a.nii.gz", time_s="0,90,180")
    preprocess([stacked], out=tmp_path / "b.nii.gz")
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_nothing_asked_nothing_changed(session, tmp_path):
    out = tmp_path / "same.nii.gz"
    preprocess([session[0]], out=out, canonical=False, n4=False, spacing_mm="0")
    assert np.array_equal(read_volume(out).data, read_volume(session[0]).data)
    assert same_grid(read_volume(out).grid, GRID)
    preprocess([session[0]], out=out, n4=False, spacing_mm="0", keep_orientation=True)
    assert np.array_equal(read_volume(out).data, read_volume(session[0]).data)


def test_like_brings_an_image_onto_another_grid(session, tmp_path):
    target = spaced_grid(GRID, 3.0)
    write_volume(tmp_path / "target.nii.gz", Volume(np.zeros(target.shape, np.uint8), target))
    out = tmp_path / "out.nii.gz"
    preprocess([session[0]], out=out, like=tmp_path / "target.nii.gz", interpolation="lanczos")
    assert same_grid(read_volume(out).grid, target)


def test_a_mask_follows_as_a_mask(session, tmp_path):
    target = spaced_grid(GRID, 3.0)
    write_volume(tmp_path / "target.nii.gz", Volume(np.zeros(target.shape, np.uint8), target))
    out = tmp_path / "out.nii.gz"
    preprocess([tmp_path / "lesion.nii.gz"], out=out, like=tmp_path / "target.nii.gz", as_mask=True)
    moved = read_volume(out)
    assert moved.data.dtype == np.uint8
    assert set(np.unique(moved.data)) == {0, 1}
    assert moved.data.sum() * 27.0 == pytest.approx(lesion().sum() * 16.0, rel=0.15)


def test_a_mask_off_the_grid_is_told_with_the_command_that_mends_it(session, tmp_path):
    small = Geometry((32, 28, 9), GRID.spacing_mm, GRID.origin_mm, GRID.direction)
    mask = tmp_path / "small.nii.gz"
    write_volume(mask, Volume(lesion()[..., :9], small))
    with pytest.raises(GeometryError, match=rf"{mask} --like {session[0]}.*--as-mask"):
        preprocess([session[0]], mask=mask, out=tmp_path / "out.nii.gz")
    mended = tmp_path / "mended.nii.gz"
    preprocess([mask], like=session[0], as_mask=True, out=mended)
    assert np.array_equal(read_mask(mended).data != 0, lesion())


def test_labels_keep_their_numbers(tmp_path):
    labels = np.zeros(SHAPE, dtype=np.int16)
    labels[5:15], labels[15:25] = 7, 300
    write_volume(tmp_path / "labels.nii.gz", Volume(labels, GRID))
    out = tmp_path / "out.nii.gz"
    preprocess([tmp_path / "labels.nii.gz"], as_mask=True, mask_method="label-gaussian", out=out)
    assert set(np.unique(read_volume(out).data)) == {0, 7, 300}


def test_phases_off_the_grid_are_told_in_mm_and_mended_by_a_flag(session, tmp_path):
    shifted = Geometry(SHAPE, GRID.spacing_mm, (31.5, -20.0, 40.0), GRID.direction)
    write_volume(session[2], Volume(phases()[2], shifted))
    with pytest.raises(GeometryError, match=r"up to 1\.5 mm apart.*--like.*--onto-first"):
        preprocess(session, out=tmp_path / "out.nii.gz", time_s="0,90,180")
    preprocess(session, out=tmp_path / "out.nii.gz", time_s="0,90,180", onto_first=True)
    assert read_series(tmp_path / "out.nii.gz").time_s == TIMES


def test_normalisation_is_fitted_before_contrast_and_shared(session, tmp_path):
    out = tmp_path / "z.nii.gz"
    preprocess(session, out=out, time_s="0,90,180", normalise="zscore", n4=False, spacing_mm="0")
    plain = np.stack(phases(), axis=-1)
    mean, deviation = plain[..., 0].mean(), plain[..., 0].std()
    expected = ((plain - mean) / deviation)[::-1, :, ::-1]
    assert np.allclose(read_series(out).data, expected, atol=1e-4)


def test_nyul_is_learned_from_some_images_and_applied_to_another(session, tmp_path):
    standard = tmp_path / "standard.json"
    preprocess(session[:2], fit_nyul=standard)
    before = standard.read_bytes()
    assert read_json(standard)["percentile"][0] == 1.0
    write_volume(tmp_path / "scaled.nii.gz", Volume(phases()[2] * 4 + 50, GRID))
    outs = [tmp_path / "one.nii.gz", tmp_path / "two.nii.gz"]
    for source, out in zip((session[2], tmp_path / "scaled.nii.gz"), outs, strict=True):
        preprocess([source], out=out, n4=False, normalise="nyul", nyul_standard=standard)
    one, two = (read_volume(path).data for path in outs)
    assert np.abs(one - two).max() < 1e-2
    assert standard.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "text"),
    [({"time_s": "0,90"}, "3 images and 2 times"),
     ({"time_s": ""}, "3 images and 0 times"),
     ({"time_s": "0,180,90"}, "must not fall"),
     ({"time_s": "0,ninety,180"}, "--time-s 0,ninety,180"),
     ({"spacing_mm": "1,2"}, "one number or three"),
     ({"interpolation": "cubic"}, "'cubic' is unknown"),
     ({"normalise": "minmax"}, "--normalise minmax is unknown"),
     ({"normalise": "nyul"}, "--fit-nyul"),
     ({"percentiles": "5"}, "--percentiles 5"),
     ({"mask_method": "vote"}, "--mask-method vote"),
     ({"out_mask": Path("m.nii.gz")}, "--out-mask needs --mask"),
     ({"n4": False, "out_bias_field": Path("b.nii.gz")}, "--out-bias-field needs --n4"),
     ({"as_mask": True}, "--as-mask takes one IMAGE"),
     ({"keep_orientation": True, "canonical": False}, "keep_orientation")],
)  # fmt: skip
def test_flags_without_meaning_are_named(session, tmp_path, options, text):
    flags = {"time_s": "0,90,180", "out": tmp_path / "out.nii.gz", **options}
    with pytest.raises(MedpipeError, match=text):
        preprocess(session, **flags)
    assert not (tmp_path / "out.nii.gz").exists()


@pytest.mark.slow
@pytest.mark.data
def test_a_dicom_folder_of_phases_and_its_segmentation(medpipe_data, tmp_path):
    folder = medpipe_data / "breast_dce/UCSF-BR-06"
    series, breast = tmp_path / "dce.nii.gz", tmp_path / "breast.nii.gz"
    preprocess([folder / "image_dce_3dfgre_orig"], out=series, spacing_mm="0", quiet=True)
    preprocess([folder / "mask"], as_mask=True, like=series, out=breast, quiet=True)
    dce(series, mask=breast, within=breast, out=tmp_path / "maps", quiet=True)
    published = to_canonical(read_volume(folder / "image_dce_pe1")).data
    ours = read_volume(tmp_path / "maps/early_enhancement.nii.gz").data
    defined = published != 0
    assert np.corrcoef(ours[defined], published[defined])[0, 1] >= 0.9999
    assert read_series(series).time_s == (0.0, 407.0, 761.0)


def test_dce_writes_maps_and_says_which_phase(session, tmp_path):
    series = tmp_path / "series.nii.gz"
    write_series(series, Series(np.stack(phases(), axis=-1), GRID, TIMES))
    out = tmp_path / "maps"
    dce(series, mask=tmp_path / "lesion.nii.gz", out=out)
    choice = read_json(out / "phase.json")
    assert (choice["index"], choice["time_s"], choice["rule"]) == (1, 90.0, "max-mean")
    inside = lesion()
    data = [image.astype(np.float64) for image in phases()]
    found = read_volume(out / "subtraction.nii.gz").data
    assert np.allclose(found, data[1] - data[0], atol=1e-4)
    percent = read_volume(out / "early_enhancement.nii.gz").data[inside]
    assert np.allclose(percent, (100 * (data[1] - data[0]) / data[0])[inside], rtol=1e-5)
    ratio = read_volume(out / "signal_enhancement_ratio.nii.gz").data[inside]
    assert np.median(ratio) == pytest.approx(1.25, rel=0.02)
    record = json.loads((out / "subtraction.nii.gz.prov.json").read_text())
    assert record["measured"]["index"] == 1


def test_dce_with_an_empty_mask_goes_by_time(session, tmp_path):
    series, empty = tmp_path / "series.nii.gz", tmp_path / "empty.nii.gz"
    write_series(series, Series(np.stack(phases(), axis=-1), GRID, TIMES))
    write_volume(empty, Volume(np.zeros(SHAPE, dtype=np.uint8), GRID))
    dce(series, mask=empty)
    choice = read_json(tmp_path / "series_dce/phase.json")
    assert (choice["index"], choice["rule"], choice["asked"]) == (2, "nearest-time", "max-mean")
    assert "ROI is empty" in choice["reason"]


def test_dce_refuses_a_mask_on_another_grid(session, tmp_path):
    series = tmp_path / "series.nii.gz"
    write_series(series, Series(np.stack(phases(), axis=-1), GRID, TIMES))
    other = Geometry(SHAPE, GRID.spacing_mm, (33.0, -20.0, 40.0), GRID.direction)
    write_volume(tmp_path / "off.nii.gz", Volume(lesion(), other))
    with pytest.raises(GeometryError, match=r"3 mm apart.*--as-mask"):
        dce(series, mask=tmp_path / "off.nii.gz")
    with pytest.raises(SettingsError, match="'peak' is unknown"):
        dce(series, phase="peak")
