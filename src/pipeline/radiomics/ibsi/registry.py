"""The register of IBSI-1 features: tag, code, family, unit, and what each one says.

Tags are those of IBSI's reference files: family, feature, and for texture the way of
aggregation. Codes are those of the reference manual. Imports nothing heavy.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.radiomics.ibsi.features import (
    DIAGNOSTICS,
    HISTOGRAM,
    LOCAL,
    MORPHOLOGY,
    STATISTICS,
    VOLUME_HISTOGRAM,
    Rows,
)
from pipeline.radiomics.ibsi.texture_features import (
    DEPENDENCE,
    DISTANCE,
    GLCM,
    NGTDM,
    RUNS,
    ZONES,
)


@dataclass(frozen=True)
class IbsiFeature:
    """One feature in one way of aggregation.

    Attributes
    ----------
    tag : str
        Of the reference files, as ``cm_joint_max_2D_avg``.
    family, family_code : str
        Key of `FAMILIES`, and its code in the manual; a diagnostic has no codes.
    name, code : str
        Of the feature, as in the manual.
    aggregation, aggregation_code : str
        How matrices of several slices and directions become one number; empty where there are
        none.
    unit : str
        "1" is dimensionless; "intensity" is the unit of the image.
    definition : str
        What it measures.
    """

    tag: str
    family: str
    family_code: str
    name: str
    code: str
    aggregation: str
    aggregation_code: str
    unit: str
    definition: str


@dataclass(frozen=True)
class Family:
    """A family of features: name, code, ways of aggregation, and a row per feature."""

    name: str
    code: str
    ways: str
    rows: Rows


#: Prefix of the tags -> family. "matrices" have six ways of aggregation, "voxels" three.
FAMILIES: dict[str, Family] = {
    "morph": Family("morphology", "HCUG", "", MORPHOLOGY),
    "loc": Family("local intensity", "9ST6", "", LOCAL),
    "stat": Family("intensity statistics", "UHIW", "", STATISTICS),
    "ih": Family("intensity histogram", "ZVCW", "", HISTOGRAM),
    "ivh": Family("intensity-volume histogram", "P88C", "", VOLUME_HISTOGRAM),
    "cm": Family("grey level co-occurrence", "LFYI", "matrices", GLCM),
    "rlm": Family("grey level run length", "TP0I", "matrices", RUNS),
    "szm": Family("grey level size zone", "9SAK", "voxels", ZONES),
    "dzm": Family("grey level distance zone", "VMDZ", "voxels", DISTANCE),
    "ngt": Family("neighbourhood grey tone difference", "IPET", "voxels", NGTDM),
    "ngl": Family("neighbouring grey level dependence", "REK0", "voxels", DEPENDENCE),
}

#: Kind of matrix -> ending of the tag -> (code, dimension, in words).
AGGREGATIONS: dict[str, dict[str, tuple[str, str, str]]] = {
    "": {"": ("", "", "")},
    "matrices": {
        "2D_avg": ("BTW3", "2D", "averaged over slices and directions"),
        "2D_comb": ("SUJT", "2D", "directions merged, averaged over slices"),
        "2_5D_avg": ("JJUI", "2_5D", "slices merged, averaged over directions"),
        "2_5D_comb": ("ZW7Z", "2_5D", "slices and directions merged"),
        "3D_avg": ("ITBB", "3D", "averaged over 13 directions in space"),
        "3D_comb": ("IAZD", "3D", "13 directions in space merged"),
    },
    "voxels": {
        "2D": ("8QNN", "2D", "averaged over slices"),
        "2_5D": ("62GR", "2_5D", "slices merged"),
        "3D": ("KOBO", "3D", "in space"),
    },
}


def features(dimensions: Iterable[str] = ("2D", "2_5D", "3D")) -> tuple[IbsiFeature, ...]:
    """Return the features in the order of the reference files, with texture of `dimensions`."""
    wanted = set(dimensions)
    return tuple(
        feature
        for prefix, family in FAMILIES.items()
        for ending, (_, dimension, _) in AGGREGATIONS[family.ways].items()
        if not dimension or dimension in wanted
        for feature in _of_family(prefix, family, ending)
    )


def diagnostics() -> tuple[IbsiFeature, ...]:
    """Return the numbers that describe the preparation."""
    return tuple(
        IbsiFeature(tag, "preparation", "", name, "", "", "", unit, definition)
        for tag, name, unit, definition in DIAGNOSTICS
    )


def tags(dimensions: Iterable[str] = ("2D", "2_5D", "3D")) -> tuple[str, ...]:
    """Return every tag that `measure` gives: preparation first, then the features."""
    return tuple(f.tag for f in (*diagnostics(), *features(dimensions)))


def _of_family(prefix: str, family: Family, ending: str) -> list[IbsiFeature]:
    code, _, words = AGGREGATIONS[family.ways][ending]
    return [
        IbsiFeature(
            tag="_".join(part for part in (prefix, stem, ending) if part),
            family=family.name,
            family_code=family.code,
            name=name,
            code=feature_code,
            aggregation=words,
            aggregation_code=code,
            unit=unit,
            definition=definition,
        )
        for stem, feature_code, name, unit, definition in family.rows
    ]
