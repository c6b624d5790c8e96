"""The radiomics settings: what a study may ask for, and the flags that the rule passes on."""

from typing import get_args

import pytest
from typer.testing import CliRunner

from cli.main import app
from pipeline.config import ImageType, RadiomicsSettings, parse_config
from pipeline.errors import SettingsError
from pipeline.radiomics.dictionary import CLASS_COUNTS
from pipeline.radiomics.profile import IMAGE_KINDS


def study(**radiomics):
    return {"studies": {"one": {"subjects": "s.tsv", "target": "t.tsv", "radiomics": radiomics}}}


def test_the_defaults_are_those_of_the_block():
    settings = RadiomicsSettings()
    assert settings.classes == tuple(CLASS_COUNTS)
    assert (settings.masks, settings.spacing_mm) == ("segment", 0.0)


def test_the_flags_are_understood_by_the_verb(tmp_path):
    settings = parse_config(study(classes=["shape", "ngtdm"], spacing_mm=1, bin_width_image=10))
    flags = settings.studies["one"].radiomics.image_flags("ct").split()
    assert flags == [
        "--kind=ct", "--bin-width=10.0", "--classes=shape,ngtdm", "--spacing-mm=1.0",
        "--interpolation=bspline3",
    ]  # fmt: skip
    missing = [str(tmp_path / "image.nii.gz"), str(tmp_path / "mask.nii.gz")]
    done = CliRunner().invoke(app, ["radiomics", *missing, *flags])
    # The flags parse: what stops the verb is the missing file.
    assert "image.nii.gz" in str(done.exception)
    assert "No such option" not in done.output


def test_filters_and_the_ibsi_profile_reach_their_verbs(tmp_path):
    missing = [str(tmp_path / "image.nii.gz"), str(tmp_path / "mask.nii.gz")]
    for settings in (
        {"images": ["original", "log", "wavelet"], "log_sigma_mm": [1, 2]},
        {"profile": "ibsi", "spacing_mm": 2, "resegment": [-1000, 400]},
    ):
        radiomics = parse_config(study(**settings)).studies["one"].radiomics
        assert radiomics.cohort_classes == "all"
        verb = [radiomics.verb, *missing, *radiomics.image_flags("ct").split()]
        done = CliRunner().invoke(app, verb)
        assert "image.nii.gz" in str(done.exception)
        assert "No such option" not in done.output
    assert RadiomicsSettings().cohort_classes == ",".join(CLASS_COUNTS)


def test_settings_know_the_image_types_of_the_block():
    assert get_args(ImageType) == IMAGE_KINDS


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"images": ["log"]}, "log and log_sigma_mm belong together"),
        ({"images": ["square"], "profile": "ibsi"}, "leave images out"),
        ({"resegment": [0, 1]}, "resegment belongs to profile ibsi"),
        ({"classes": ["shapes"]}, "studies.one.radiomics.classes"),
        ({"masks": "mine"}, "studies.one.radiomics.masks"),
        ({"spacing_mm": -1}, "studies.one.radiomics.spacing_mm"),
        ({"voxel_mm": 1}, "studies.one.radiomics.voxel_mm: no such setting"),
    ],
)
def test_what_has_no_meaning_is_refused_by_its_path(settings, path):
    with pytest.raises(SettingsError, match=path):
        parse_config(study(**settings))
