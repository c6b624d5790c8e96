"""One-dimensional kernels: Laws, Haar, Daubechies, Coiflet; all float64."""

import numpy as np

from pipeline.types import Array1D

_LAWS = {
    "L5": (1, 4, 6, 4, 1),
    "E5": (-1, -2, 0, 2, 1),
    "S5": (-1, 0, 2, 0, -1),
    "W5": (-1, 2, 0, -2, 1),
    "R5": (1, -4, 6, -4, 1),
    "L3": (1, 2, 1),
    "E3": (-1, 0, 1),
    "S3": (-1, 2, -1),
}

#: Level, edge, spot, wave, ripple; each divided by its Euclidean norm, as the IBSI asks.
LAWS: dict[str, Array1D] = {
    name: np.array(taps, dtype=np.float64) / np.linalg.norm(taps) for name, taps in _LAWS.items()
}


def _daubechies3() -> list[float]:
    a, b = np.sqrt(10.0), np.sqrt(5.0 + 2.0 * np.sqrt(10.0))
    taps = [1 + a + b, 5 + a + 3 * b, 10 - 2 * a + 2 * b, 10 - 2 * a - 2 * b, 5 + a - 3 * b]
    return [*taps, 1 + a - b]


_S3, _S7 = np.sqrt(3.0), np.sqrt(7.0)

#: Scaling filters times the given number (Daubechies, Ten Lectures on Wavelets, 1992).
_SCALING = {
    "haar": (np.sqrt(2.0), [1.0, 1.0]),
    "db2": (4 * np.sqrt(2.0), [1 + _S3, 3 + _S3, 3 - _S3, 1 - _S3]),
    "db3": (16 * np.sqrt(2.0), _daubechies3()),
    "coif1": (
        16 * np.sqrt(2.0),
        [1 - _S7, 5 + _S7, 14 + 2 * _S7, 14 - 2 * _S7, 1 - _S7, _S7 - 3],
    ),
}


def _analysis(divisor: float, scaling: list[float]) -> dict[str, Array1D]:
    """Return the decomposition filters of an orthogonal wavelet: low pass L, high pass H."""
    low = np.array(scaling[::-1], dtype=np.float64) / divisor
    alternating = np.where(np.arange(low.size) % 2 == 0, -1.0, 1.0)
    return {"L": low, "H": low[::-1] * alternating}


WAVELETS: dict[str, dict[str, Array1D]] = {
    name: _analysis(*scaling) for name, scaling in _SCALING.items()
}


def wavelet_kernel(family: str, band: str, level: int) -> Array1D:
    """Return the taps of a decomposition filter at a level, spread by zeros, odd in length.

    An even kernel gets a zero at its end, so that its centre is the tap right of its middle;
    for level j, 2^(j-1) - 1 zeros then come between the taps (IBSI, à trous).
    """
    taps = WAVELETS[family][band]
    step = 1 << (level - 1)
    spread = np.zeros(step * taps.size + 1)
    spread[: step * taps.size : step] = taps
    return spread
