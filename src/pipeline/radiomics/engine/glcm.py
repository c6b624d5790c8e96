"""Grey-level co-occurrence matrix: which levels lie beside one another."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.radiomics.engine.cooccurrence import cooccurrences
from pipeline.radiomics.engine.directions import Directions
from pipeline.radiomics.engine.emphasis import EPSILON
from pipeline.radiomics.engine.levels import Ints, LevelMap
from pipeline.radiomics.engine.settings import Weighting
from pipeline.types import Array1D

Floats = npt.NDArray[np.float64]


def glcm(
    levels: LevelMap,
    directions: Directions,
    spacing_mm: Sequence[float],
    *,
    weighting: Weighting = "none",
    symmetrical: bool = True,
    device: str | None = None,
) -> dict[str, float]:
    """Return the 24 features (Haralick et al. 1973, doi:10.1109/TSMC.1973.4309314).

    Parameters
    ----------
    levels : LevelMap
        The region.
    directions : Directions
        To the neighbours.
    spacing_mm : (3,) floats
        Along k, j, i.
    weighting : str
        Norm by which the directions are merged, each weighing exp(-length²); "none" takes the
        mean of the features over the directions that have pairs.
    symmetrical : bool
        Each pair counts both ways.
    device : str, optional
        Where torch counts the pairs; numpy without.
    """
    counts = cooccurrences(levels, directions.offsets(levels), device).astype(np.float64)
    if symmetrical:
        counts = counts + counts.transpose(0, 2, 1)
    if weighting != "none":
        lengths = directions.lengths_mm(spacing_mm, weighting)
        weights = np.ones(len(counts)) if lengths is None else np.exp(-(lengths**2))
        counts = np.tensordot(weights, counts, axes=1)[None]
    totals = counts.sum(axis=(1, 2))
    p = counts[totals > 0] / totals[totals > 0, None, None]
    if not len(p):
        return _without_pairs(levels.occupied, len(counts))
    found = _of_pairs(p, levels.occupied)
    found |= _of_sums_and_differences(p, levels.occupied)
    found |= _of_information(p)
    return {name: _mean(value) for name, value in found.items()}


_NAMES = (
    "Autocorrelation", "JointAverage", "ClusterProminence", "ClusterShade", "ClusterTendency",
    "Contrast", "Correlation", "DifferenceAverage", "DifferenceEntropy", "DifferenceVariance",
    "JointEnergy", "JointEntropy", "Imc1", "Imc2", "Idm", "MCC", "Idmn", "Id", "Idn",
    "InverseVariance", "MaximumProbability", "SumAverage", "SumEntropy", "SumSquares",
)  # fmt: skip


def _without_pairs(occupied: Ints, matrices: int) -> dict[str, float]:
    """Return the features of a region in which no voxel has a neighbour.

    They have no value but two of a single level, where PyRadiomics sums over nothing.
    """
    found = dict.fromkeys(_NAMES, np.nan)
    if matrices > 1 and len(occupied) == 1:
        found["MCC"] = 1.0
    if matrices == 1 and len(occupied) == 1:
        found["InverseVariance"] = 0.0
    return found


def _mean(values: Array1D) -> float:
    """Return the mean over the directions in which the feature is defined."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def _of_pairs(p: Floats, occupied: Ints) -> dict[str, Array1D]:
    """Features of the (A, n, n) shares of pairs and of the marginals."""
    level = occupied.astype(np.float64)
    px, py = p.sum(axis=2), p.sum(axis=1)
    from_x, from_y = level - (px @ level)[:, None], level - (py @ level)[:, None]
    variance_x, variance_y = (px * from_x**2).sum(axis=1), (py * from_y**2).sum(axis=1)
    covariance = (np.matmul(p, from_y[:, :, None])[..., 0] * from_x).sum(axis=1)
    spread = np.sqrt(variance_x) * np.sqrt(variance_y)
    return {
        "Autocorrelation": (p @ level) @ level,
        "JointAverage": px @ level,
        "Correlation": np.where(spread == 0, 1.0, covariance / (spread + EPSILON)),
        "JointEnergy": (p**2).sum(axis=(1, 2)),
        "MaximumProbability": p.max(axis=(1, 2)),
        "SumSquares": variance_x,
        "MCC": _maximal_correlation(p, px, py),
    }


def _of_sums_and_differences(p: Floats, occupied: Ints) -> dict[str, Array1D]:
    """Features that depend on the sum or the difference of the two levels only."""
    highest = int(occupied[-1])
    sums = _marginal(p, occupied[:, None] + occupied, 2 * highest + 1)
    differences = _marginal(p, np.abs(occupied[:, None] - occupied), highest)
    total, k = np.arange(2.0 * highest + 1), np.arange(float(highest))
    from_mean = total - (sums @ total)[:, None]
    average = differences @ k
    return {
        "ClusterProminence": (sums * from_mean**4).sum(axis=1),
        "ClusterShade": (sums * from_mean**3).sum(axis=1),
        "ClusterTendency": (sums * from_mean**2).sum(axis=1),
        "SumAverage": sums @ total,
        "SumEntropy": _entropy(sums),
        "Contrast": differences @ k**2,
        "DifferenceAverage": average,
        "DifferenceEntropy": _entropy(differences),
        "DifferenceVariance": (differences * (k - average[:, None]) ** 2).sum(axis=1),
        "Id": differences @ (1 / (1 + k)),
        "Idm": differences @ (1 / (1 + k**2)),
        "Idn": differences @ (1 / (1 + k / highest)),
        "Idmn": differences @ (1 / (1 + k**2 / highest**2)),
        "InverseVariance": differences[:, 1:] @ (1 / k[1:] ** 2),
    }


def _of_information(p: Floats) -> dict[str, Array1D]:
    px, py = p.sum(axis=2), p.sum(axis=1)
    product = px[:, :, None] * py[:, None, :]
    logarithm = np.log2(product + EPSILON)
    joint = _entropy(p)
    crossed, independent = -(p * logarithm).sum((1, 2)), -(product * logarithm).sum((1, 2))
    larger = np.fmax(_entropy(px), _entropy(py))
    first = np.divide(joint - crossed, larger, out=np.zeros_like(joint), where=larger != 0)
    with np.errstate(invalid="ignore"):
        # Rounding can put the joint entropy above the independent one: undefined, as theirs.
        second = (1 - np.e ** (-2 * (independent - joint))) ** 0.5
    second[independent == joint] = 0
    return {"JointEntropy": joint, "Imc1": first, "Imc2": second}


def _entropy(p: Floats) -> Array1D:
    entropy: Array1D = -(p * np.log2(p + EPSILON)).sum(axis=tuple(range(1, p.ndim)))
    return entropy


def _marginal(p: Floats, index: Ints, length: int) -> Floats:
    where = index.ravel()
    return np.array([np.bincount(where, weights=part.ravel(), minlength=length) for part in p])


def _maximal_correlation(p: Floats, px: Floats, py: Floats) -> Array1D:
    """Return the root of the second largest eigenvalue of Q; 1 for a single level."""
    if p.shape[1] < 2:
        return np.ones(len(p))
    scaled = p / (px[:, :, None] * py[:, None, :] + EPSILON)
    values: npt.NDArray[Any] = np.linalg.eigvals(scaled @ p.transpose(0, 2, 1))
    values.sort(axis=-1)
    with np.errstate(invalid="ignore"):
        root: Array1D = np.sqrt(values[:, -2]).real
    return root
