"""Maps against PyRadiomics' voxel mode, value for value."""

import numpy as np
import pytest

from pipeline.radiomics.engine.settings import TextureSettings
from pipeline.radiomics.maps.measure import feature_maps
from pipeline.radiomics.maps.settings import MapSettings

#: name -> (how to make the region, our settings, theirs)
CASES = {
    "default": ({}, {}, {}),
    "one-batch": ({}, {"voxel_batch": -1}, {"voxelBatch": -1}),
    "small-batches": ({}, {"voxel_batch": 7}, {"voxelBatch": 7}),
    "radius-2": ({"levels": 12, "sigma": 1.0, "shape": (5, 5, 4)}, {"kernel_radius": 2}, {}),
    "unmasked": (
        {"levels": 5, "filled": 0.2},
        {"masked_kernel": False, "voxel_batch": -1},
        {"maskedKernel": False, "voxelBatch": -1},
    ),
    "few-levels": ({"levels": 3, "sigma": 1.0}, {}, {}),
    "two-levels": ({"levels": 2, "sigma": 0.7, "filled": 1.0}, {}, {}),
    "one-level": ({"levels": 0.9}, {}, {}),
    "many-levels": ({"levels": 140, "shape": (4, 4, 4)}, {}, {}),
    "flat": ({"flat": True}, {}, {}),
    "bin-count": ({}, {"texture": TextureSettings(bin_count=10)}, {"binCount": 10}),
    "narrow-bins": (
        {"levels": 2},
        {"texture": TextureSettings(bin_width=7.3, intensity_shift=100)},
        {"binWidth": 7.3, "voxelArrayShift": 100},
    ),
    "anisotropic": ({"spacing_mm": (0.7, 0.8, 5.0)}, {"init_value": -3.5}, {"initValue": -3.5}),
    "in-slices": (
        {},
        {"texture": TextureSettings(force_2d=True)},
        {"force2D": True, "force2Ddimension": 0},
    ),
    "across-j": (
        {},
        {"texture": TextureSettings(force_2d=True, force_2d_axis=1)},
        {"force2D": True, "force2Ddimension": 1},
    ),
    "distances": (
        {"shape": (5, 5, 4)},
        {"texture": TextureSettings(distances=(1, 2))},
        {"distances": [1, 2]},
    ),
    "dependence": ({}, {"texture": TextureSettings(gldm_alpha=1)}, {"gldm_a": 1}),
}
CLASSES = ("glcm", "firstorder", "glrlm", "glszm", "gldm", "ngtdm")
#: Cases that tell a class something new.
RUNS = [("glcm", name) for name in CASES if name != "dependence"] + [
    (one, name)
    for one in CLASSES[1:]
    for name in ("default", "radius-2", "unmasked", "flat", "bin-count", "across-j", "anisotropic")
]
RUNS += [("gldm", "distances"), ("gldm", "dependence"), ("ngtdm", "distances")]
RUNS += [("firstorder", "narrow-bins"), ("glrlm", "one-batch"), ("ngtdm", "one-level")]

#: What a value has to be larger than for its relative difference to say anything: a skewness or a
#: correlation that vanishes on paper comes out as anything up to here.
NOISE = 1e-6
#: MCC along a direction without shared information is the root of a rounding error, some 1e-8.
TOLERANCE = {"glcm_MCC": 1e-7}


@pytest.mark.parametrize(("name", "case"), RUNS)
def test_values_are_those_of_pyradiomics(name, case, make_region, pyradiomics):
    region, ours, theirs = CASES[case]
    image, mask = make_region(**region)
    settings = MapSettings(**ours)
    wanted = pyradiomics(
        image, mask, name, settings.kernel_radius, **({"voxelBatch": 1, "binWidth": 25} | theirs)
    )
    found = feature_maps(image, mask, [name], settings=settings)
    assert list(found) != []
    assert set(found) == set(wanted)
    for column, volume in found.items():
        values = volume.data[mask.data]
        np.testing.assert_allclose(
            values,
            wanted[column],
            rtol=TOLERANCE.get(column, 1e-9),
            atol=NOISE * 1e-9 if column != "glcm_MCC" else 1e-8,
            err_msg=column,
        )
        assert (volume.data[~mask.data] == settings.init_value).all()


def test_a_batch_loses_what_pyradiomics_loses(make_region, pyradiomics):
    image, mask = make_region()
    alone = feature_maps(image, mask, ["glcm"], settings=MapSettings(init_value=-7))
    batch = feature_maps(image, mask, ["glcm"], settings=MapSettings(init_value=-7, voxel_batch=-1))
    inside = mask.data
    assert (batch["glcm_MCC"].data[inside] == -7).all()
    assert (alone["glcm_MCC"].data[inside] >= 0).all()
    lost = np.isnan(batch["glcm_JointAverage"].data[inside])
    assert 0 < lost.sum() < inside.sum()
    assert not np.isnan(alone["glcm_JointAverage"].data[inside]).any()


def test_a_voxel_without_neighbours_has_no_texture(make_region, pyradiomics):
    image, mask = make_region()
    mask.data[:] = False
    mask.data[0, 0, 0] = mask.data[3, 3, 2] = mask.data[3, 3, 3] = True
    found = feature_maps(image, mask, ["glcm", "glrlm"], settings=MapSettings())
    wanted = pyradiomics(image, mask, "glcm", voxelBatch=1, binWidth=25)
    for column in wanted:
        assert np.isnan(found[column].data[0, 0, 0])
        assert not np.isnan(found[column].data[3, 3, 3])
        assert np.isnan(wanted[column]).sum() == 1
    assert np.isnan(found["glrlm_RunEntropy"].data[0, 0, 0])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("levels", [2, 3, 5, 9])
def test_rounding_of_few_levels_is_followed(seed, levels, make_region, pyradiomics):
    """Directions without shared information abound: IMC2 is 0, 1e-8 or left out of the mean."""
    image, mask = make_region(seed, levels=levels, sigma=0.8, filled=0.9, shape=(9, 9, 9))
    wanted = pyradiomics(image, mask, "glcm", voxelBatch=1, binWidth=25)
    found = feature_maps(image, mask, ["glcm"], settings=MapSettings())
    for column in ("glcm_Imc1", "glcm_Imc2", "glcm_JointEntropy"):
        values = found[column].data[mask.data]
        np.testing.assert_allclose(values, wanted[column], rtol=1e-9, atol=1e-15, err_msg=column)
