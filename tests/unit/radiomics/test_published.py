"""Values that others published: PyRadiomics' own baseline, and IBSI's digital phantom."""

import ast
import csv

import pytest

from pipeline.io import read_mask, read_volume
from pipeline.radiomics.dictionary import CLASS_COUNTS, FEATURES, OPTIONAL_FEATURES
from pipeline.radiomics.extract import extract

pytestmark = pytest.mark.data

CLASSES = (*CLASS_COUNTS, "ngtdm")
ALL_FEATURES = (*FEATURES, *OPTIONAL_FEATURES)

#: The baseline of the shape is older (2.0.1b1) than the mesh's present lookup table, which
#: resolves ambiguous corners otherwise: seen where a lesion is ragged.
MESH = ("MeshVolume", "SurfaceArea", "SurfaceVolumeRatio", "Sphericity")

#: Consensus values of the digital phantom (arXiv:1612.07003, table of each feature; in
#: reference/ibsi_1_dig_phantom.csv): prefix and suffix per class, then name -> tag.
IBSI_FORM = {
    "shape": "morph_{}",
    "firstorder": "stat_{}",
    "glcm": "cm_{}_3D_avg",
    "glrlm": "rlm_{}_3D_avg",
    "glszm": "szm_{}_3D",
    "gldm": "ngl_{}_3D",
    "ngtdm": "ngt_{}_3D",
}
IBSI_TAGS = {
    "shape": {
        "MeshVolume": "volume", "VoxelVolume": "vol_approx", "SurfaceArea": "area_mesh",
        "SurfaceVolumeRatio": "av", "Sphericity": "sphericity", "Maximum3DDiameter": "diam",
        "MajorAxisLength": "pca_maj_axis", "MinorAxisLength": "pca_min_axis",
        "LeastAxisLength": "pca_least_axis", "Elongation": "pca_elongation",
        "Flatness": "pca_flatness",
    },
    "firstorder": {
        "Energy": "energy", "Entropy": "ih_entropy", "Minimum": "min", "Maximum": "max",
        "10Percentile": "p10", "90Percentile": "p90", "Mean": "mean", "Median": "median",
        "InterquartileRange": "iqr", "Range": "range", "MeanAbsoluteDeviation": "mad",
        "RobustMeanAbsoluteDeviation": "rmad", "RootMeanSquared": "rms", "Skewness": "skew",
        "Kurtosis": "kurt", "Variance": "var", "Uniformity": "ih_uniformity",
    },
    "glcm": {
        "Autocorrelation": "auto_corr", "JointAverage": "joint_avg",
        "ClusterProminence": "clust_prom", "ClusterShade": "clust_shade",
        "ClusterTendency": "clust_tend", "Contrast": "contrast", "Correlation": "corr",
        "DifferenceAverage": "diff_avg", "DifferenceEntropy": "diff_entr",
        "DifferenceVariance": "diff_var", "JointEnergy": "energy", "JointEntropy": "joint_entr",
        "Imc1": "info_corr1", "Imc2": "info_corr2", "Idm": "inv_diff_mom",
        "Idmn": "inv_diff_mom_norm", "Id": "inv_diff", "Idn": "inv_diff_norm",
        "InverseVariance": "inv_var", "MaximumProbability": "joint_max",
        "SumAverage": "sum_avg", "SumEntropy": "sum_entr", "SumSquares": "joint_var",
    },
    "glrlm": {
        "ShortRunEmphasis": "sre", "LongRunEmphasis": "lre", "GrayLevelNonUniformity": "glnu",
        "GrayLevelNonUniformityNormalized": "glnu_norm", "RunLengthNonUniformity": "rlnu",
        "RunLengthNonUniformityNormalized": "rlnu_norm", "RunPercentage": "r_perc",
        "GrayLevelVariance": "gl_var", "RunVariance": "rl_var", "RunEntropy": "rl_entr",
        "LowGrayLevelRunEmphasis": "lgre", "HighGrayLevelRunEmphasis": "hgre",
        "ShortRunLowGrayLevelEmphasis": "srlge", "ShortRunHighGrayLevelEmphasis": "srhge",
        "LongRunLowGrayLevelEmphasis": "lrlge", "LongRunHighGrayLevelEmphasis": "lrhge",
    },
    "glszm": {
        "SmallAreaEmphasis": "sze", "LargeAreaEmphasis": "lze", "GrayLevelNonUniformity": "glnu",
        "GrayLevelNonUniformityNormalized": "glnu_norm", "SizeZoneNonUniformity": "zsnu",
        "SizeZoneNonUniformityNormalized": "zsnu_norm", "ZonePercentage": "z_perc",
        "GrayLevelVariance": "gl_var", "ZoneVariance": "zs_var", "ZoneEntropy": "zs_entr",
        "LowGrayLevelZoneEmphasis": "lgze", "HighGrayLevelZoneEmphasis": "hgze",
        "SmallAreaLowGrayLevelEmphasis": "szlge", "SmallAreaHighGrayLevelEmphasis": "szhge",
        "LargeAreaLowGrayLevelEmphasis": "lzlge", "LargeAreaHighGrayLevelEmphasis": "lzhge",
    },
    "gldm": {
        "SmallDependenceEmphasis": "lde", "LargeDependenceEmphasis": "hde",
        "GrayLevelNonUniformity": "glnu", "DependenceNonUniformity": "dcnu",
        "DependenceNonUniformityNormalized": "dcnu_norm", "GrayLevelVariance": "gl_var",
        "DependenceVariance": "dc_var", "DependenceEntropy": "dc_entr",
        "LowGrayLevelEmphasis": "lgce", "HighGrayLevelEmphasis": "hgce",
        "SmallDependenceLowGrayLevelEmphasis": "ldlge",
        "SmallDependenceHighGrayLevelEmphasis": "ldhge",
        "LargeDependenceLowGrayLevelEmphasis": "hdlge",
        "LargeDependenceHighGrayLevelEmphasis": "hdhge",
    },
    "ngtdm": {
        "Busyness": "busyness", "Coarseness": "coarseness", "Complexity": "complexity",
        "Contrast": "contrast", "Strength": "strength",
    },
}  # fmt: skip


def baseline(folder, feature_class, case):
    """Return (settings, values by PyRadiomics' name) of one column; None when it has none."""
    with (folder / f"baseline/baseline_{feature_class}.csv").open(encoding="utf-8") as stream:
        rows = {row[0]: row[1:] for row in csv.reader(stream)}
    if case not in rows["featureName"]:
        return None
    place = rows["featureName"].index(case)
    settings = ast.literal_eval(rows["diagnostics_Configuration_Settings"][place])
    start = f"original_{feature_class}_"
    values = {k.removeprefix(start): float(v[place]) for k, v in rows.items() if start in k}
    return settings, values


@pytest.mark.parametrize("variant", ["", "_FBN"])
@pytest.mark.parametrize("case", ["brain1", "brain2", "breast1"])
def test_the_published_baseline_of_pyradiomics(medpipe_data, case, variant):
    folder = medpipe_data / "pyradiomics"
    image = read_volume(folder / f"{case}_image.nrrd")
    mask = read_mask(folder / f"{case}_label.nrrd", label=1)
    compared = 0
    for feature_class in CLASSES:
        published = baseline(folder, feature_class, case + variant)
        if published is None:
            continue
        settings, expected = published
        row = extract(
            image,
            mask,
            bin_width=settings.get("binWidth"),
            bin_count=settings.get("binCount"),
            intensity_shift=settings.get("voxelArrayShift", 0),
            classes=CLASSES,
        )
        assert row.status == "ok"
        for feature in (f for f in ALL_FEATURES if f.feature_class == feature_class):
            old_mesh = case == "brain1" and feature.pyradiomics in MESH
            tolerance = 1e-3 if old_mesh else 1e-11
            found = row.values[feature.column]
            assert found == pytest.approx(expected[feature.pyradiomics], rel=tolerance)
            compared += 1
    assert compared == (75 if variant else 107)


def test_the_ibsi_digital_phantom(medpipe_data):
    folder = medpipe_data / "ibsi"
    with (folder / "reference/ibsi_1_dig_phantom.csv").open(encoding="utf-8") as stream:
        reference = {
            row["tag"]: (float(row["reference value"]), float(row["tolerance"]))
            for row in csv.DictReader(stream, delimiter=";")
            if row["reference value"]
        }
    image = read_volume(folder / "digital_phantom/image/phantom.nii.gz")
    mask = read_mask(folder / "digital_phantom/mask/mask.nii.gz")
    row = extract(image, mask, bin_width=1.0, classes=CLASSES)
    compared = set()
    for feature in (f for f in ALL_FEATURES if f.ibsi):
        tag = IBSI_TAGS[feature.feature_class][feature.pyradiomics]
        form = "{}" if tag.startswith("ih_") else IBSI_FORM[feature.feature_class]
        expected, tolerance = reference[form.format(tag)]
        found = row.values[feature.column]
        if feature.pyradiomics == "Kurtosis":
            found -= 3.0  # IBSI's is in excess of the normal distribution
        if "AxisLength" in feature.pyradiomics:
            found *= (row.voxels / (row.voxels - 1)) ** 0.5  # IBSI's covariance divides by N - 1
        # Consensus values are printed with three figures.
        rounding = 0.5 * 10 ** (-2 if expected == 0 else power_of_third_figure(expected))
        assert abs(found - expected) <= max(tolerance, 1.001 * rounding), feature.column
        compared.add(feature.column)
    assert len(compared) == 102


def power_of_third_figure(value):
    """Return the power of ten of the third figure: 1490 -> 1, 2.15 -> -2, 0.0564 -> -4."""
    return int(f"{value:.2e}".split("e")[1]) - 2
