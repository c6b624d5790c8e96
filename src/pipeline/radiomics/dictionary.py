"""The features: column, unit, IBSI code, and what each one says. Imports nothing heavy.

The default is 102 features in six classes. PyRadiomics' seventh class, NGTDM, is optional: with it
there are PyRadiomics' 107.

IBSI codes are those of the reference manual of the Image Biomarker Standardisation Initiative
(arXiv:1612.07003). Every feature with a code is compared on IBSI's digital phantom with our own
implementation of it (`pipeline.radiomics.ibsi`), which matches all reference values: where
PyRadiomics gives another value, `Feature.matches_ibsi` is "no" and `Feature.note` says why. Where
the values agree there but another preparation would part them, the note says that too. An empty
code means that IBSI does not have the feature.

Grey levels and numbers of voxels are counted, so texture features have unit 1; a voxel is the
unit of length there. The 2-D diameters lie in planes of the stored grid; with axial slices, (i, j)
is axial, (i, k) coronal and (j, k) sagittal.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from pipeline.errors import SettingsError

FeatureClass = Literal["shape", "firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm"]
Match = Literal["yes", "no", "not in IBSI"]

#: Features per class, in the order of the columns (14 + 18 + 24 + 16 + 16 + 14 = 102).
CLASS_COUNTS: dict[FeatureClass, int] = {
    "shape": 14, "firstorder": 18, "glcm": 24, "glrlm": 16, "glszm": 16, "gldm": 14,
}  # fmt: skip
#: Classes that are computed only when asked for.
OPTIONAL_CLASS_COUNTS: dict[FeatureClass, int] = {"ngtdm": 5}

#: Unit -> ending of the column name. Intensities keep the unit of their image: no ending.
_ENDINGS = {"mm": "_mm", "mm2": "_mm2", "mm3": "_mm3", "1/mm": "_per_mm"}


@dataclass(frozen=True)
class Feature:
    """One feature.

    Attributes
    ----------
    column : str
        ``class_Name`` with the unit as ending where it has one of length.
    pyradiomics : str
        Name that PyRadiomics gives it inside its class.
    feature_class : str
        Key of `CLASS_COUNTS` or `OPTIONAL_CLASS_COUNTS`.
    unit : str
        "1" is dimensionless; "intensity" is the unit of the image.
    ibsi : str
        Code of the IBSI reference manual; empty where IBSI has none.
    definition : str
        What it measures.
    note : str
        How its definition departs from that of IBSI, or how its preparation does.
    matches_ibsi : str
        "yes", "no", or "not in IBSI".
    """

    column: str
    pyradiomics: str
    feature_class: FeatureClass
    unit: str
    ibsi: str
    definition: str
    note: str = ""
    matches_ibsi: Match = "yes"


_SAMPLE = "divides by N voxels; IBSI's reference values divide by N - 1"
_MESH = (
    "equal where the mesh is closed; PyRadiomics' has holes where voxels touch by an edge only, "
    "which changes a ragged region by some 2 %"
)
_ORIGIN = (
    "with a fixed bin width, levels start at a multiple of it; IBSI's start at the lower end of "
    "re-segmentation, else at the lowest intensity"
)

#: What parts a class, or a feature of it, from IBSI although the definition is the same.
_CLASS_NOTES: dict[FeatureClass, str] = {
    "glcm": f"IBSI's way in 3-D, averaged over 13 directions; {_ORIGIN}",
    "glrlm": f"IBSI's way in 3-D, averaged over 13 directions; {_ORIGIN}",
    "glszm": _ORIGIN,
    "gldm": f"IBSI's neighbouring grey level dependence (NGLDM), coarseness 0; {_ORIGIN}",
    "ngtdm": _ORIGIN,
}
_FEATURE_NOTES = {
    "shape_MeshVolume": _MESH,
    "shape_SurfaceArea": _MESH,
    "shape_Sphericity": _MESH,
    "shape_SurfaceVolumeRatio": _MESH,
    "firstorder_Entropy": _ORIGIN,
    "firstorder_Uniformity": _ORIGIN,
}

_SHAPE = (
    ("Elongation", "1", "Q3CK", "second over longest principal axis; 1 is round, 0 a line"),
    ("Flatness", "1", "N17B", "shortest over longest principal axis; 1 is round, 0 flat"),
    (
        "LeastAxisLength",
        "mm",
        "7J51",
        "shortest axis of the ellipsoid with the same spread",
        _SAMPLE,
    ),
    (
        "MajorAxisLength",
        "mm",
        "TDIC",
        "longest axis of the ellipsoid with the same spread",
        _SAMPLE,
    ),
    ("Maximum2DDiameterColumn", "mm", "", "largest surface distance within a plane (i, k)"),
    ("Maximum2DDiameterRow", "mm", "", "largest surface distance within a plane (j, k)"),
    ("Maximum2DDiameterSlice", "mm", "", "largest surface distance within a slice (i, j)"),
    ("Maximum3DDiameter", "mm", "L0JK", "largest distance between two points of the surface mesh"),
    ("MeshVolume", "mm3", "RNU0", "volume enclosed by the surface mesh"),
    ("MinorAxisLength", "mm", "P9VJ", "second axis of the ellipsoid with the same spread", _SAMPLE),
    ("Sphericity", "1", "QCFX", "surface of a ball of equal volume over the surface; 1 is a ball"),
    ("SurfaceArea", "mm2", "C0JK", "area of the surface mesh"),
    ("SurfaceVolumeRatio", "1/mm", "2PR5", "mesh surface over mesh volume; falls with size"),
    ("VoxelVolume", "mm3", "YEKZ", "number of voxels times the volume of one"),
)
_FIRSTORDER = (
    ("10Percentile", "intensity", "QG58", "a tenth of the voxels lie below"),
    ("90Percentile", "intensity", "8DWT", "a tenth of the voxels lie above"),
    ("Energy", "intensity^2", "N8CA", "sum of the squared intensities; grows with size"),
    ("Entropy", "bit", "TLU2", "disorder of the histogram of grey levels"),
    ("InterquartileRange", "intensity", "SALO", "from the lower to the upper quartile"),
    (
        "Kurtosis",
        "1",
        "IPH6",
        "weight of the tails; 3 for a normal distribution",
        "IBSI subtracts 3",
    ),
    ("Maximum", "intensity", "84IY", "highest intensity"),
    ("MeanAbsoluteDeviation", "intensity", "4FUA", "mean distance from the mean"),
    ("Mean", "intensity", "Q4LE", "mean intensity"),
    ("Median", "intensity", "Y12H", "half of the voxels lie below"),
    ("Minimum", "intensity", "1GSF", "lowest intensity"),
    ("Range", "intensity", "2OJQ", "highest minus lowest intensity"),
    (
        "RobustMeanAbsoluteDeviation",
        "intensity",
        "1128",
        "mean distance from the mean, of voxels between the 10th and 90th percentile",
    ),
    ("RootMeanSquared", "intensity", "5ZWQ", "root of the mean squared intensity"),
    ("Skewness", "1", "KE2A", "lean of the distribution; positive with a long upper tail"),
    ("TotalEnergy", "intensity^2 mm3", "", "energy times the volume of a voxel"),
    ("Uniformity", "1", "BJ5W", "sum of squared shares of the grey levels; 1 when all are equal"),
    ("Variance", "intensity^2", "ECT3", "mean squared distance from the mean"),
)
_GLCM = (
    ("Autocorrelation", "1", "QWB0", "mean product of the levels of neighbours"),
    ("JointAverage", "1", "60VM", "mean level, each voxel counted once per neighbour"),
    ("ClusterProminence", "1", "AE86", "fourth moment of the sum of levels: peaks and tails"),
    ("ClusterShade", "1", "7NFM", "third moment of the sum of levels: asymmetry"),
    ("ClusterTendency", "1", "DG8W", "variance of the sum of levels: groups of similar voxels"),
    ("Contrast", "1", "ACUI", "mean squared difference between neighbours"),
    ("Correlation", "1", "NI2N", "linear correlation of the levels of neighbours"),
    ("DifferenceAverage", "1", "TF7R", "mean difference between neighbours"),
    ("DifferenceEntropy", "bit", "NTRS", "disorder of the differences between neighbours"),
    ("DifferenceVariance", "1", "D3YU", "variance of the differences between neighbours"),
    ("JointEnergy", "1", "8ZQL", "sum of squared pair frequencies; high when few pairs occur"),
    ("JointEntropy", "bit", "TU9B", "disorder of the pairs of levels"),
    ("Imc1", "1", "R8DG", "shared information of neighbours over their entropy, negative"),
    ("Imc2", "1", "JN9H", "shared information of neighbours, 0 (none) to 1"),
    ("Idm", "1", "WF0Z", "closeness of neighbours, by the inverse of 1 + squared difference"),
    ("MCC", "1", "", "highest correlation of neighbours after any recoding of the levels"),
    ("Idmn", "1", "1QCO", "as Idm, the difference taken relative to the number of levels"),
    ("Id", "1", "IB1Z", "closeness of neighbours, by the inverse of 1 + difference"),
    ("Idn", "1", "NDRX", "as Id, the difference taken relative to the number of levels"),
    ("InverseVariance", "1", "E8JP", "mean inverse squared difference of unequal neighbours"),
    ("MaximumProbability", "1", "GYBY", "share of the most frequent pair of levels"),
    ("SumAverage", "1", "ZGXS", "mean sum of the levels of neighbours"),
    ("SumEntropy", "bit", "P6QZ", "disorder of the sums of levels"),
    ("SumSquares", "1", "UR99", "variance of the level over all pairs"),
)
_GLRLM = (
    ("GrayLevelNonUniformity", "1", "R5YN", "how unevenly runs spread over the levels"),
    ("GrayLevelNonUniformityNormalized", "1", "OVBL", "the same, per squared number of runs"),
    ("GrayLevelVariance", "1", "8CE5", "variance of the level over runs"),
    ("HighGrayLevelRunEmphasis", "1", "G3QZ", "mean squared level of the runs"),
    ("LongRunEmphasis", "1", "W4KF", "mean squared length of the runs: coarse texture"),
    ("LongRunHighGrayLevelEmphasis", "1", "3KUM", "long runs of high levels"),
    ("LongRunLowGrayLevelEmphasis", "1", "IVPO", "long runs of low levels"),
    ("LowGrayLevelRunEmphasis", "1", "V3SW", "mean inverse squared level of the runs"),
    ("RunEntropy", "bit", "HJ9O", "disorder of levels and lengths of the runs"),
    ("RunLengthNonUniformity", "1", "W92Y", "how unevenly runs spread over the lengths"),
    ("RunLengthNonUniformityNormalized", "1", "IC23", "the same, per squared number of runs"),
    ("RunPercentage", "1", "9ZK5", "runs per voxel: 1 for the finest texture"),
    ("RunVariance", "1", "SXLW", "variance of the length of runs"),
    ("ShortRunEmphasis", "1", "22OV", "mean inverse squared length of the runs: fine texture"),
    ("ShortRunHighGrayLevelEmphasis", "1", "GD3A", "short runs of high levels"),
    ("ShortRunLowGrayLevelEmphasis", "1", "HTZT", "short runs of low levels"),
)
_GLSZM = (
    ("GrayLevelNonUniformity", "1", "JNSA", "how unevenly zones spread over the levels"),
    ("GrayLevelNonUniformityNormalized", "1", "Y1RO", "the same, per squared number of zones"),
    ("GrayLevelVariance", "1", "BYLV", "variance of the level over zones"),
    ("HighGrayLevelZoneEmphasis", "1", "5GN9", "mean squared level of the zones"),
    ("LargeAreaEmphasis", "1", "48P8", "mean squared size of the zones: coarse texture"),
    ("LargeAreaHighGrayLevelEmphasis", "1", "J17V", "large zones of high levels"),
    ("LargeAreaLowGrayLevelEmphasis", "1", "YH51", "large zones of low levels"),
    ("LowGrayLevelZoneEmphasis", "1", "XMSY", "mean inverse squared level of the zones"),
    ("SizeZoneNonUniformity", "1", "4JP3", "how unevenly zones spread over the sizes"),
    ("SizeZoneNonUniformityNormalized", "1", "VB3A", "the same, per squared number of zones"),
    ("SmallAreaEmphasis", "1", "5QRC", "mean inverse squared size of the zones: fine texture"),
    ("SmallAreaHighGrayLevelEmphasis", "1", "HW1V", "small zones of high levels"),
    ("SmallAreaLowGrayLevelEmphasis", "1", "5RAI", "small zones of low levels"),
    ("ZoneEntropy", "bit", "GU8N", "disorder of levels and sizes of the zones"),
    ("ZonePercentage", "1", "P30P", "zones per voxel: 1 for the finest texture"),
    ("ZoneVariance", "1", "3NSA", "variance of the size of zones"),
)
_GLDM = (
    ("DependenceEntropy", "bit", "FCBV", "disorder of levels and dependence counts"),
    ("DependenceNonUniformity", "1", "Z87G", "how unevenly voxels spread over the counts"),
    ("DependenceNonUniformityNormalized", "1", "OKJI", "the same, per number of voxels"),
    ("DependenceVariance", "1", "DNX2", "variance of the dependence count"),
    ("GrayLevelNonUniformity", "1", "FP8K", "how unevenly voxels spread over the levels"),
    ("GrayLevelVariance", "1", "1PFV", "variance of the level"),
    ("HighGrayLevelEmphasis", "1", "OAE7", "mean squared level"),
    ("LargeDependenceEmphasis", "1", "IMOQ", "mean squared dependence count: homogeneous texture"),
    ("LargeDependenceHighGrayLevelEmphasis", "1", "9QMG", "large dependence of high levels"),
    ("LargeDependenceLowGrayLevelEmphasis", "1", "NBZI", "large dependence of low levels"),
    ("LowGrayLevelEmphasis", "1", "TL9H", "mean inverse squared level"),
    ("SmallDependenceEmphasis", "1", "SODN", "mean inverse squared dependence count"),
    ("SmallDependenceHighGrayLevelEmphasis", "1", "JA6D", "small dependence of high levels"),
    ("SmallDependenceLowGrayLevelEmphasis", "1", "EQ3F", "small dependence of low levels"),
)  # fmt: skip

_NGTDM = (
    ("Busyness", "1", "NQ30", "rapid changes of level between a voxel and its neighbours"),
    ("Coarseness", "1", "QCDE", "inverse of the mean difference from the neighbours"),
    ("Complexity", "1", "HDEZ", "many and large changes of level, unevenly spread"),
    ("Contrast", "1", "65HE", "spread of the levels times the differences from the neighbours"),
    ("Strength", "1", "1X9X", "distinct and visible primitives: slow changes of large levels"),
)  # fmt: skip

_TABLES: tuple[tuple[FeatureClass, tuple[tuple[str, ...], ...]], ...] = (
    ("shape", _SHAPE),
    ("firstorder", _FIRSTORDER),
    ("glcm", _GLCM),
    ("glrlm", _GLRLM),
    ("glszm", _GLSZM),
    ("gldm", _GLDM),
)


def _feature(feature_class: FeatureClass, row: tuple[str, ...]) -> Feature:
    """Return a feature of its row; a row ends with the way its definition departs from IBSI."""
    name, unit, ibsi, definition, *departure = row
    prefix = f"{feature_class}_{name}"
    column = f"{prefix}{_ENDINGS.get(unit, '')}"
    note = _FEATURE_NOTES.get(prefix, _CLASS_NOTES.get(feature_class, "")) if ibsi else ""
    match: Match = ("no" if departure else "yes") if ibsi else "not in IBSI"
    return Feature(
        column, name, feature_class, unit, ibsi, definition, "".join(departure) or note, match
    )


#: The 102 features of the default classes, in the order of the columns of every feature table.
FEATURES: tuple[Feature, ...] = tuple(
    _feature(feature_class, row) for feature_class, rows in _TABLES for row in rows
)
COLUMNS: tuple[str, ...] = tuple(feature.column for feature in FEATURES)
#: The features of the optional classes; their columns follow those of the default classes.
OPTIONAL_FEATURES: tuple[Feature, ...] = tuple(_feature("ngtdm", row) for row in _NGTDM)

#: Shape features that shrink to 0 with the region: an empty region has them, as 0.
SIZE_COLUMNS: tuple[str, ...] = tuple(
    feature.column for feature in FEATURES if feature.unit in ("mm", "mm2", "mm3")
)


def features_of(classes: Iterable[str] = tuple(CLASS_COUNTS)) -> tuple[Feature, ...]:
    """Return the features of some classes, in the order of the columns.

    Raises
    ------
    SettingsError
        There is no such class, or none is named.
    """
    wanted = set(classes)
    unknown = sorted(wanted - set(get_args(FeatureClass)))
    if unknown or not wanted:
        named = f"feature class {unknown[0]!r} is unknown" if unknown else "no feature class"
        raise SettingsError(f"{named}; choose from {', '.join(get_args(FeatureClass))}")
    return tuple(f for f in (*FEATURES, *OPTIONAL_FEATURES) if f.feature_class in wanted)


def columns_of(classes: Iterable[str] = tuple(CLASS_COUNTS)) -> tuple[str, ...]:
    """Return the columns of some classes, in their order."""
    return tuple(feature.column for feature in features_of(classes))


def describe(feature: Feature) -> dict[str, str]:
    """Return a feature's row of the dictionary."""
    return {
        "column": feature.column,
        "pyradiomics": f"original_{feature.feature_class}_{feature.pyradiomics}",
        "class": feature.feature_class,
        "unit": feature.unit,
        "ibsi": feature.ibsi,
        "matches_ibsi": feature.matches_ibsi,
        "definition": feature.definition,
        "note": feature.note,
    }
