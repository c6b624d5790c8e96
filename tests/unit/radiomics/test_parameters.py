"""PyRadiomics' parameter files."""

import pytest
import yaml

from pipeline.errors import SettingsError
from pipeline.radiomics.parameters import profile_from_parameters
from pipeline.radiomics.profile import ImageType, Normalisation, Resampling, Resegmentation

TEXT = """
imageType:
  Original: {}
  LoG:
    sigma: [1.0, 3]
    binWidth: 10
  Wavelet: {level: 2}
featureClass:
  shape:
  firstorder: []
  glcm:
    - 'Contrast'
    - 'Autocorrelation'
setting:
  normalize: true
  normalizeScale: 100
  removeOutliers: 3
  interpolator: 'sitkBSpline'
  resampledPixelSpacing: [2, 2, 0]
  padDistance: 10
  resegmentRange: [-3, 3]
  resegmentMode: sigma
  binWidth: 5
  voxelArrayShift: 300
  weightingNorm: null
  force2D: true
  force2Ddimension: 0
  label: 4
"""


def test_a_file_becomes_a_profile():
    profile, label = profile_from_parameters(yaml.safe_load(TEXT), where="x.yaml")
    assert label == 4
    assert profile.classes == ("shape", "firstorder", "glcm")
    assert profile.texture_columns[-2:] == ("glcm_Autocorrelation", "glcm_Contrast")
    assert profile.normalisation == Normalisation(100, 3)
    assert profile.resampling == Resampling((2.0, 2.0, 0.0), "pyradiomics", "sitkBSpline", 10)
    assert profile.resegmentation == Resegmentation((-3, 3), "sigma")
    original, log, wavelet = profile.images
    assert original.texture.bin_width == 5
    assert original.texture.intensity_shift == 300
    assert (original.texture.force_2d, original.texture.force_2d_axis) == (True, 2)
    assert (log.texture.bin_width, log.names) == (
        10, ("log-sigma-1-0-mm-3D", "log-sigma-3-mm-3D"),
    )  # fmt: skip
    assert wavelet.names == (
        "wavelet-LH", "wavelet-HL", "wavelet-HH", "wavelet2-LH", "wavelet2-HL", "wavelet2-HH",
        "wavelet2-LL",
    )  # fmt: skip
    assert "log-sigma-3-mm-3D_glcm_Contrast" in profile.columns
    assert (profile.min_voxels, profile.min_dimensions) == (2, 2)


def test_an_empty_file_is_pyradiomics_default():
    profile, label = profile_from_parameters(None, where="x.yaml")
    assert label is None
    assert len(profile.columns) == 107
    assert profile.images == (ImageType("original"),)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"settings": {}}, "x.yaml: settings is unknown; known are featureClass"),
        ({"setting": {"binwidth": 5}}, "x.yaml: setting: binwidth is unknown"),
        ({"imageType": {"Wavelets": {}}}, "Wavelets is unknown"),
        ({"imageType": {"LoG": {}}}, "--log-sigma"),
        ({"featureClass": {"glcm": ["Kontrast"]}}, "featureClass.glcm: Kontrast is unknown"),
        ({"featureClass": {"gclm": None}}, "gclm is unknown"),
        ({"setting": 5}, "no mapping"),
        ({"setting": {"resampledPixelSpacing": [1, 1]}}, "three numbers"),
        ({"setting": {"resegmentRange": [1, 2], "resegmentMode": "x"}}, "sigma"),
    ],
)
def test_what_pyradiomics_does_not_know_is_refused(document, message):
    with pytest.raises(SettingsError, match=message):
        profile_from_parameters(document, where="x.yaml")


def test_repeated_features_and_settings_without_use_are_told(caplog):
    document = {
        "setting": {"correctMask": True},
        "featureClass": {"shape": ["Sphericity", "Compactness1"], "shape2D": None},
    }
    profile, _ = profile_from_parameters(document, where="x.yaml")
    assert profile.columns == ("shape_Sphericity",)
    assert "correctMask is not used" in caplog.text
    assert "Compactness1" in caplog.text
    assert "shape2D is left out" in caplog.text
