"""Which columns of a wide table are features, and of which class and image."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

#: Classes in the order in which readers meet them; those of PyRadiomics, then IBSI's others.
CLASS_ORDER = (
    "shape", "shape2D", "firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm", "gldzm", "ngldm",
    "morph", "loc", "stat", "ih", "ivh", "cm", "rlm", "szm", "dzm", "ngt", "ngl",
)  # fmt: skip
# IBSI's morph_mask_... describe the preparation
_PATTERN = re.compile(rf"^(?:(?P<image>.+)[._-])?(?P<name>{'|'.join(CLASS_ORDER)})_(?!mask_).+$")


@dataclass(frozen=True)
class FeatureColumn:
    """A column of features.

    Attributes
    ----------
    column : str
        As in the table.
    image : str
        What stands before the class: a filter (``wavelet-LLH``), a set (``baseline``); or
        "original".
    feature_class : str
        One of `CLASS_ORDER`.
    """

    column: str
    image: str
    feature_class: str


def feature_columns(columns: Iterable[object]) -> tuple[FeatureColumn, ...]:
    """Return the features among the columns of a table, in their order.

    A feature's name holds its class and an underscore: ``glcm_Contrast``,
    ``wavelet-LLH_glcm_Contrast``, ``original_glcm_Contrast``, ``baseline.glcm_Contrast``.
    """
    found = []
    for column in map(str, columns):
        parts = _PATTERN.match(column)
        if parts:
            found.append(FeatureColumn(column, parts["image"] or "original", parts["name"]))
    return tuple(found)
