"""ITK's recursive Gaussian along one axis as a matrix, so that part of an image costs its part.

Deriche's fourth-order recursion (INRIA report 1893, 1993) with the coefficients of Farneback and
Westin (doi:10.1007/s10851-006-8464-z, table 3), normalised as `itk::RecursiveGaussianImageFilter`
does: the response to a constant (smoothing) or to a parabola (second derivative) is exact, and the
first and last voxel of a line are repeated without end.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import SimpleITK as sitk

from pipeline.types import Array1D, Array3D

Order = Literal[0, 2]

#: Weights of the two damped oscillations that make up a Gaussian and its second derivative.
_FIRST = {0: (1.3530, 1.8151), 2: (-1.3563, 5.2318)}
_SECOND = {0: (-0.3531, 0.0902), 2: (0.3446, -2.2355)}
_FREQUENCIES = (0.6681, 2.0787)
_DECAYS = (-1.3932, -1.3732)

#: Input voxels at a time: the float64 copies stay in the cache.
_CHUNK = 1 << 17
#: The recursion in double differs from the matrix by less than this, per largest intensity, at a
#: sigma of one voxel; by its cube for wide ones (measured: a fifth of it).
_NOISE = 1e-14


@dataclass(frozen=True)
class Pass:
    """One pass along an axis.

    Attributes
    ----------
    axis : int
        Of the array.
    rows : (int, int)
        First of the places wanted along it, and the one after the last.
    sigma_mm, spacing_mm : float
        Width of the Gaussian, and distance of the voxels along the axis.
    order : {0, 2}
        Of the derivative, which is multiplied by sigma squared.
    """

    axis: int
    rows: tuple[int, int]
    sigma_mm: float
    spacing_mm: float
    order: Order


def run(data: Array3D, one: Pass) -> Array3D:
    """Return ITK's result of a pass, to the bit: float32, on the rows wanted.

    A matrix product in float64 is rounded to float32. Where its distance to ITK's sum could
    change the rounding, the line is given to ITK itself.

    Parameters
    ----------
    data : (I, J, K) array
        In C order.
    one : Pass
        What to do along which axis.
    """
    weights = matrix(data.shape[one.axis], one.rows, one.sigma_mm, one.spacing_mm, one.order)
    largest = max(abs(float(data.min())), abs(float(data.max())))
    doubt = _NOISE * (1 + (one.sigma_mm / one.spacing_mm / 2) ** 3) * largest
    shape = list(data.shape)
    shape[one.axis] = len(weights)
    out = np.empty(shape, dtype=np.float32)
    for part in _chunks(data.shape, one.axis):
        exact = _product(data[part], one.axis, weights)
        out[part] = exact
        doubtful = (exact - doubt).astype(np.float32) != (exact + doubt).astype(np.float32)
        lines = np.argwhere(doubtful.any(axis=one.axis))
        if len(lines):
            _replace(out[part], data[part], lines, one)
    return out


def _chunks(shape: tuple[int, ...], axis: int) -> Iterator[tuple[slice, slice, slice]]:
    """Yield parts of the array that hold whole lines along the axis."""
    along = 1 if axis == 0 else 0
    step = max(1, _CHUNK * shape[along] // math.prod(shape))
    for start in range(0, shape[along], step):
        part = [slice(None)] * 3
        part[along] = slice(start, start + step)
        yield part[0], part[1], part[2]


def _product(data: Array3D, axis: int, weights: Array3D) -> Array3D:
    values = data.astype(np.float64)
    if axis == 0:
        flat = weights @ values.reshape(len(values), -1)
        return np.asarray(flat.reshape(len(weights), *values.shape[1:]))
    return np.asarray(weights @ values if axis == 1 else values @ weights.T)


def _replace(out: Array3D, data: Array3D, lines: Array3D, one: Pass) -> None:
    """Write ITK's own results of some lines into a part of the output."""
    places = tuple(lines.T)
    taken = np.moveaxis(data, one.axis, -1)[places]
    picture = sitk.GetImageFromArray(np.ascontiguousarray(taken)[None])
    picture.SetSpacing((one.spacing_mm, 1.0, 1.0))
    recursive = sitk.RecursiveGaussianImageFilter()
    recursive.SetSigma(one.sigma_mm)
    recursive.SetNormalizeAcrossScale(True)
    recursive.SetOrder(recursive.SecondOrder if one.order == 2 else recursive.ZeroOrder)
    recursive.SetDirection(0)
    found = sitk.GetArrayFromImage(recursive.Execute(picture))[0]
    np.moveaxis(out, one.axis, -1)[places] = found[:, one.rows[0] : one.rows[1]]


def matrix(
    size: int, rows: tuple[int, int], sigma_mm: float, spacing_mm: float, order: Order
) -> Array3D:
    """Return rows of the matrix (rows, size) that smooths a line, or differentiates it twice.

    Parameters
    ----------
    size : int
        Voxels of the line.
    rows : (int, int)
        First of the voxels wanted, and the one after the last.
    sigma_mm, spacing_mm : float
        Width of the Gaussian, and distance of the voxels.
    order : {0, 2}
        Of the derivative, which is multiplied by sigma squared.
    """
    weights, feedback = _coefficients(sigma_mm, spacing_mm, order)
    backward = np.append(weights[1:], 0.0) - feedback * weights[0]
    down = _one_way(size, rows, weights, feedback)
    up = _one_way(size, (size - rows[1], size - rows[0]), np.append(0.0, backward), feedback)
    return down + up[::-1, ::-1]


def _one_way(size: int, rows: tuple[int, int], weights: Array1D, feedback: Array1D) -> Array3D:
    """Return rows of s[n] = sum_k w[k] x[n-k] - sum_k d[k] s[n-1-k], x being constant before 0."""
    impulse = [0.0] * size
    inputs, back = weights.tolist(), feedback.tolist()
    for n in range(size):
        value = inputs[n] if n < len(inputs) else 0.0
        for k, weight in enumerate(back[:n]):
            value -= weight * impulse[n - 1 - k]
        impulse[n] = value
    later = np.arange(*rows)[:, None] - np.arange(size)[None, :]
    response = np.where(later >= 0, np.array(impulse)[np.maximum(later, 0)], 0.0)
    # The first voxel stands for all before it: a constant line has a constant response.
    response[:, 0] = weights.sum() / (1 + feedback.sum()) - response[:, 1:].sum(axis=1)
    return response


def _coefficients(sigma_mm: float, spacing_mm: float, order: Order) -> tuple[Array1D, Array1D]:
    """Return the four weights of the input and of the recursion."""
    sigma = sigma_mm / spacing_mm
    cosines = np.cos(np.array(_FREQUENCIES) / sigma)
    decays = np.exp(np.array(_DECAYS) / sigma)
    (c1, c2), (e1, e2) = cosines, decays
    feedback = np.array([
        -2 * (e2 * c2 + e1 * c1),
        4 * c2 * c1 * e1 * e2 + e1**2 + e2**2,
        -2 * c1 * e1 * e2**2 - 2 * c2 * e2 * e1**2,
        e1**2 * e2**2,
    ])  # fmt: skip
    total = 1 + feedback.sum()
    smooth = _input_weights(sigma, 0)
    if order == 0:
        return smooth / (2 * smooth.sum() / total - smooth[0]), feedback
    second = _input_weights(sigma, 2)
    beta = (2 * second.sum() - total * second[0]) / (2 * smooth.sum() - total * smooth[0])
    second = second - beta * smooth
    steps, places = np.arange(4), np.arange(1, 5)
    s0, s1, s2 = second.sum(), (steps * second).sum(), (steps**2 * second).sum()
    d1, d2 = (places * feedback).sum(), (places**2 * feedback).sum()
    parabola = (s2 * total**2 - d2 * s0 * total - 2 * s1 * d1 * total + 2 * d1**2 * s0) / total**3
    return second * (sigma_mm**2 / parabola), feedback


def _input_weights(sigma: float, order: Order) -> Array1D:
    (a1, b1), (a2, b2) = _FIRST[order], _SECOND[order]
    (s1, s2), (c1, c2) = (
        np.sin(np.array(_FREQUENCIES) / sigma),
        np.cos(np.array(_FREQUENCIES) / sigma),
    )
    e1, e2 = np.exp(np.array(_DECAYS) / sigma)
    return np.array([
        a1 + a2,
        e2 * (b2 * s2 - (a2 + 2 * a1) * c2) + e1 * (b1 * s1 - (a1 + 2 * a2) * c1),
        2 * e1 * e2 * ((a1 + a2) * c2 * c1 - b1 * c2 * s1 - b2 * c1 * s2) + a2 * e1**2 + a1 * e2**2,
        e2 * e1**2 * (b2 * s2 - a2 * c2) + e1 * e2**2 * (b1 * s1 - a1 * c1),
    ])  # fmt: skip
