"""What a column of a feature table means, whichever image type or profile it comes from."""

from functools import cache

from pipeline.radiomics.dictionary import FEATURES, OPTIONAL_FEATURES, Feature, describe
from pipeline.radiomics.feature_columns import feature_columns
from pipeline.radiomics.ibsi.registry import IbsiFeature, features

_ORIGINAL = "original"


def describe_column(column: str) -> dict[str, str]:
    """Return the row of the dictionary for a column without a set's prefix.

    Parameters
    ----------
    column : str
        ``glcm_Contrast``, ``wavelet-LLH_glcm_Contrast`` or a tag of IBSI, ``cm_contrast_3D_avg``.

    Returns
    -------
    dict of str
        As `pipeline.radiomics.dictionary.describe`; a column that nobody describes has its
        class and nothing else.
    """
    known = _by_column().get(column)
    if known is not None:
        return describe(known)
    tag = _by_tag().get(column)
    if tag is not None:
        return _of_ibsi(tag)
    image, name, feature_class = _split(column)
    known = _by_column().get(name)
    if known is None:
        return _row(column, "", feature_class)
    row = describe(known)
    return row | {
        "column": column,
        "pyradiomics": row["pyradiomics"].replace(_ORIGINAL, image, 1),
        "unit": known.unit if known.unit == "1" else "",
        "ibsi": "",
        "matches_ibsi": "not in IBSI",
        "definition": f"{known.definition}, of the image {image}",
        "note": "",
    }


def _split(column: str) -> tuple[str, str, str]:
    """Return image type, column without it, and class."""
    (found,) = feature_columns([column]) or (None,)
    if found is None:
        return _ORIGINAL, column, ""
    if found.image == _ORIGINAL:
        return _ORIGINAL, column, found.feature_class
    return found.image, column[len(found.image) + 1 :], found.feature_class


def _of_ibsi(feature: IbsiFeature) -> dict[str, str]:
    ways = f", {feature.aggregation}" if feature.aggregation else ""
    return _row(feature.tag, feature.code, feature.family) | {
        "unit": feature.unit,
        "matches_ibsi": "yes",
        "definition": f"{feature.definition}{ways}",
    }


def _row(column: str, ibsi: str, feature_class: str) -> dict[str, str]:
    return dict.fromkeys(describe(FEATURES[0]), "") | {
        "column": column,
        "class": feature_class,
        "ibsi": ibsi,
    }


@cache
def _by_column() -> dict[str, Feature]:
    return {feature.column: feature for feature in (*FEATURES, *OPTIONAL_FEATURES)}


@cache
def _by_tag() -> dict[str, IbsiFeature]:
    return {feature.tag: feature for feature in features()}
