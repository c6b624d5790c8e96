"""Our features against a table that others computed, per feature and per subject.

The published names are PyRadiomics' (``original_class_Name``). Features that PyRadiomics has since
deprecated are computed from ours by the formula of its documentation, so that they are compared
as well. Who differs and why is read from the tables: a subject whose region has the same voxels
and the same range of intensities in both is *identical input*; there a feature of the same
definition has the same value.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import spearmanr

from pipeline.errors import CohortError
from pipeline.radiomics.dictionary import FEATURES, OPTIONAL_FEATURES
from pipeline.types import Array1D

#: Spearman's correlation from which a feature is said to agree.
AGREES_FROM = 0.99
#: Relative difference below which two values are the same number, computed twice.
_SAME = 1e-9
#: Regions whose numbers of voxels differ by less than this share are near one another.
_NEAR = 0.05

_VOLUME, _MINIMUM, _MAXIMUM = (
    "original_shape_VoxelVolume", "original_firstorder_Minimum", "original_firstorder_Maximum",
)  # fmt: skip


@dataclass(frozen=True)
class Counterpart:
    """What we have in place of a published feature.

    Attributes
    ----------
    columns : tuple of str
        Columns of ours that it is computed from.
    formula : str
        The definition in words and symbols; the column itself when it is one of ours.
    compute : function
        From these columns to the values; None takes the column as it is.
    """

    columns: tuple[str, ...]
    formula: str
    compute: Callable[..., Array1D] | None = None


def _compactness1(volume: Array1D, area: Array1D) -> Array1D:
    return np.asarray(volume / (np.sqrt(np.pi) * area**1.5))


def _compactness2(volume: Array1D, area: Array1D) -> Array1D:
    return np.asarray(36.0 * np.pi * volume**2 / area**3)


_MESH = ("shape_MeshVolume_mm3", "shape_SurfaceArea_mm2")

#: Deprecated by PyRadiomics: enabled by name only, or gone.
_DEPRECATED: dict[str, Counterpart] = {
    "original_shape_Compactness1": Counterpart(_MESH, "V / (sqrt(pi) A^(3/2))", _compactness1),
    "original_shape_Compactness2": Counterpart(_MESH, "36 pi V^2 / A^3", _compactness2),
    "original_shape_SphericalDisproportion": Counterpart(
        ("shape_Sphericity",), "1 / Sphericity", np.reciprocal
    ),
    "original_firstorder_StandardDeviation": Counterpart(
        ("firstorder_Variance",), "sqrt(Variance), N in the denominator", np.sqrt
    ),
    "original_glcm_Dissimilarity": Counterpart(("glcm_DifferenceAverage",), "DifferenceAverage"),
    "original_glcm_Homogeneity1": Counterpart(("glcm_Id",), "Id"),
    "original_glcm_Homogeneity2": Counterpart(("glcm_Idm",), "Idm"),
    "original_glcm_SumVariance": Counterpart(("glcm_ClusterTendency",), "ClusterTendency"),
}

#: Every published name that we can answer.
COUNTERPARTS: dict[str, Counterpart] = {
    f"original_{f.feature_class}_{f.pyradiomics}": Counterpart((f.column,), f.column)
    for f in (*FEATURES, *OPTIONAL_FEATURES)
} | _DEPRECATED

#: Columns of the table per feature.
AGREEMENT_COLUMNS = (
    "feature", "ours", "n", "spearman", "pearson", "ratio_median", "ratio_low5", "ratio_high95",
    "agrees", "n_identical_input", "largest_difference_identical", "same_definition",
    "n_near_region", "spearman_near_region", "n_same_darkest_level", "spearman_same_darkest_level",
    "why",
)  # fmt: skip


def compare_with_published(
    ours: pd.DataFrame,
    published: pd.DataFrame,
    mapping: Mapping[str, Counterpart] = COUNTERPARTS,
    *,
    bin_width: float = 25.0,
) -> pd.DataFrame:
    """Compare feature by feature over the subjects that both tables have.

    Parameters
    ----------
    ours : DataFrame
        Index subject, columns of the dictionary.
    published : DataFrame
        Index subject, columns named as in PyRadiomics.
    mapping : mapping of str to Counterpart
        What answers each published name.
    bin_width : float
        Width of a grey level in intensity units, to tell whether both regions start at the same
        level.

    Returns
    -------
    DataFrame
        `AGREEMENT_COLUMNS`, a row per published feature in its order. `ratio` is ours over
        published. ``agrees`` is yes from Spearman's `AGREES_FROM`; ``same_definition`` is yes
        when identical input gives the same number to 1e-9, and empty when no subject has
        identical input. ``why`` says what the numbers show.

    Raises
    ------
    CohortError
        The tables share no subject, or a subject stands twice.
    """
    one, other = _paired(ours, published)
    groups = _groups(one, other, bin_width)
    rows = [_row(name, one, other, mapping, groups) for name in other.columns]
    return pd.DataFrame(rows, columns=list(AGREEMENT_COLUMNS))


def compare_subjects(
    ours: pd.DataFrame,
    published: pd.DataFrame,
    border_voxels: Mapping[str, int],
    centres: Mapping[str, str] | None = None,
    mapping: Mapping[str, Counterpart] = COUNTERPARTS,
) -> pd.DataFrame:
    """Compare subject by subject: is the region the same, and what sets it apart.

    Parameters
    ----------
    ours, published, mapping
        As in `compare_with_published`.
    border_voxels : mapping of str to int
        Voxels of our region in the outermost layer of the image, where known.
    centres : mapping of str to str, optional
        Where each subject was scanned: differences that follow the centre have a common cause.

    Returns
    -------
    DataFrame
        ``subject``, ``centre``, both volumes and their ratio, the border voxels, both ranges of
        intensity, the median over features of the relative difference, ``input`` (identical,
        intensities, region, or region cut at the border) and ``why``: the same in words.
    """
    one, other = _paired(ours, published)
    values = {
        name: _differences(found, other[name].to_numpy(dtype=np.float64))
        for name in other.columns
        if (found := _counterpart(name, one, mapping)) is not None
    }
    median = np.nanmedian(np.array(list(values.values())), axis=0)
    anchors = {
        name: (_ours(name, one), _theirs(name, other)) for name in (_VOLUME, _MINIMUM, _MAXIMUM)
    }
    rows = []
    for place, subject in enumerate(one.index):
        (volume, volume_there), low, high = (
            (float(a[place]), float(b[place])) for a, b in anchors.values()
        )
        border = border_voxels.get(str(subject))
        rows.append(
            {
                "subject": str(subject),
                "centre": (centres or {}).get(str(subject), ""),
                "volume_mm3": volume,
                "volume_published_mm3": volume_there,
                "volume_ratio": volume / volume_there,
                "border_voxels": np.nan if border is None else border,
                "minimum": low[0],
                "minimum_published": low[1],
                "maximum": high[0],
                "maximum_published": high[1],
                "median_difference": float(median[place]),
                **_cause(volume / volume_there, border or 0, low, high),
            }
        )
    return pd.DataFrame(rows)


def _cause(
    ratio: float, border: int, low: tuple[float, float], high: tuple[float, float]
) -> dict[str, str]:
    """Say how a subject's input differs, as a class and in words."""
    if abs(ratio - 1) < _SAME:
        if low[0] == low[1] and high[0] == high[1]:
            return {"input": "identical", "why": ""}
        where = f"{low[0]:g} to {high[0]:g}, published {low[1]:g} to {high[1]:g}"
        return {"input": "intensities", "why": f"same number of voxels, range {where}"}
    sentence = f"{100 * (ratio - 1):+.1f} % voxels"
    if not border:
        return {"input": "region", "why": sentence}
    cut = f"{sentence}, {border} of ours on the border of the image"
    return {"input": "region cut at the border", "why": cut}


@dataclass(frozen=True)
class _Groups:
    """Subjects with identical input, with regions near one another, with the same lowest level."""

    identical: npt.NDArray[np.bool_]
    near: npt.NDArray[np.bool_]
    level: npt.NDArray[np.bool_]


def _groups(one: pd.DataFrame, other: pd.DataFrame, bin_width: float) -> "_Groups":
    ratio = _ours(_VOLUME, one) / _theirs(_VOLUME, other)
    low, low_there = _ours(_MINIMUM, one), _theirs(_MINIMUM, other)
    same_range = (low == low_there) & (_ours(_MAXIMUM, one) == _theirs(_MAXIMUM, other))
    return _Groups(
        identical=(np.abs(ratio - 1) < _SAME) & same_range,
        near=np.abs(ratio - 1) < _NEAR,
        level=np.floor(low / bin_width) == np.floor(low_there / bin_width),
    )


def _row(
    name: str,
    one: pd.DataFrame,
    other: pd.DataFrame,
    mapping: Mapping[str, Counterpart],
    groups: _Groups,
) -> dict[str, object]:
    found = _counterpart(name, one, mapping)
    if found is None:
        return {"feature": name, "n": 0, "why": "no counterpart among our columns"}
    theirs = other[name].to_numpy(dtype=np.float64)
    known = np.isfinite(found) & np.isfinite(theirs)
    ratio = found[known & (theirs != 0)] / theirs[known & (theirs != 0)]
    low5, median, high95 = (
        np.percentile(ratio, (5, 50, 95)) if ratio.size else (np.nan, np.nan, np.nan)
    )
    identical = known & groups.identical
    differences = _differences(found[identical], theirs[identical])
    largest = float(differences.max()) if differences.size else np.nan
    row: dict[str, object] = {
        "feature": name,
        "ours": mapping[name].formula,
        "n": int(known.sum()),
        "spearman": _spearman(found[known], theirs[known]),
        "pearson": _pearson(found[known], theirs[known]),
        "ratio_median": median,
        "ratio_low5": low5,
        "ratio_high95": high95,
        "n_identical_input": int(identical.sum()),
        "largest_difference_identical": largest,
        "same_definition": "" if np.isnan(largest) else "yes" if largest < _SAME else "no",
    }
    for title, chosen in (("near_region", groups.near), ("same_darkest_level", groups.level)):
        part = known & chosen
        row |= {
            f"n_{title}": int(part.sum()),
            f"spearman_{title}": _spearman(found[part], theirs[part]),
        }
    agrees = _at_least(row["spearman"])
    return row | {"agrees": "yes" if agrees else "no", "why": _why(row, agrees)}


def _why(row: Mapping[str, object], agrees: bool) -> str:
    """Say what the numbers of a row show."""
    if row["same_definition"] == "no":
        return "another definition or setting: identical input gives other values"
    if row["same_definition"] == "":
        return "" if agrees else "no subject with identical input: region or definition"
    same = (
        f"same definition: equal to {row['largest_difference_identical']:.0e} on the "
        f"{row['n_identical_input']} subjects with identical input"
    )
    if agrees:
        return same
    if _at_least(row["spearman_near_region"]):
        return (
            f"{same}; the others' regions differ: Spearman {row['spearman_near_region']:.3f} on "
            f"the {row['n_near_region']} whose volumes agree within {_NEAR:.0%}"
        )
    if _at_least(row["spearman_same_darkest_level"]):
        return (
            f"{same}; grey levels are counted from the region's darkest voxel, which the two "
            f"regions may not share: Spearman {row['spearman_same_darkest_level']:.3f} on the "
            f"{row['n_same_darkest_level']} whose darkest level is the same"
        )
    return f"{same}; on the others it depends on the few voxels in which the regions differ"


def _counterpart(
    name: str, ours: pd.DataFrame, mapping: Mapping[str, Counterpart]
) -> Array1D | None:
    """Return our values of a published feature, or None where we have none."""
    place = mapping.get(name)
    if place is None or not set(place.columns) <= set(ours.columns):
        return None
    columns = [ours[c].to_numpy(dtype=np.float64) for c in place.columns]
    found: Array1D = columns[0] if place.compute is None else place.compute(*columns)
    return found


def _ours(name: str, table: pd.DataFrame) -> Array1D:
    found = _counterpart(name, table, COUNTERPARTS)
    return np.full(len(table), np.nan) if found is None else found


def _theirs(name: str, table: pd.DataFrame) -> Array1D:
    if name not in table:
        return np.full(len(table), np.nan)
    return np.asarray(table[name], dtype=np.float64)


def _differences(found: Array1D, theirs: Array1D) -> Array1D:
    """Return |ours - published| over the larger of the two magnitudes; 0 where both are 0."""
    scale = np.maximum(np.abs(found), np.abs(theirs))
    return np.asarray(np.abs(found - theirs) / np.where(scale > 0, scale, 1.0))


def _spearman(a: Array1D, b: Array1D) -> float:
    return float(spearmanr(a, b).statistic) if _varies(a) and _varies(b) else np.nan


def _pearson(a: Array1D, b: Array1D) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if _varies(a) and _varies(b) else np.nan


def _varies(values: Array1D) -> bool:
    return values.size > 2 and bool(np.ptp(values) > 0)


def _at_least(correlation: object) -> bool:
    return isinstance(correlation, float) and correlation >= AGREES_FROM


def _paired(ours: pd.DataFrame, published: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return both tables on the subjects they share, sorted by subject."""
    for what, table in (("our features", ours), ("published features", published)):
        if table.index.has_duplicates:
            twice = table.index[table.index.duplicated()][0]
            raise CohortError([f"{what}: subject {twice!r} has two rows; keep one"])
    shared = sorted(set(ours.index) & set(published.index))
    if not shared:
        raise CohortError(
            ["our features and the published ones share no subject; compare the ids (007 is not 7)"]
        )
    return ours.loc[shared], published.loc[shared]
