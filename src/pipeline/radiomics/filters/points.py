"""Square, square root, logarithm and exponential, scaled by the largest intensity of the image.

Formulas and order of operations are those of PyRadiomics 3.0.1 (`imageoperations`), which scales
so that the largest absolute intensity stays where it is.
"""

import numpy as np

from pipeline.types import Array3D


def square(data: Array3D, largest: float) -> Array3D:
    """Return x² over the largest."""
    scaled = (1 / np.sqrt(largest)) * data.astype(np.float64)
    return np.asarray(scaled**2)


def squareroot(data: Array3D, largest: float) -> Array3D:
    """Return the root of |x| times the largest, with the sign of x."""
    values = data.astype(np.float64)
    return np.asarray(np.copysign(np.sqrt(np.abs(values) * largest), values))


def logarithm(data: Array3D, largest: float) -> Array3D:
    """Return log(|x| + 1) with the sign of x, stretched to the largest."""
    values = data.astype(np.float64)
    logs = np.copysign(np.log(np.abs(values) + 1), values)
    return np.asarray(logs * (largest / np.log(largest + 1)))


def exponential(data: Array3D, largest: float) -> Array3D:
    """Return exp(c x), c such that the largest stays where it is."""
    coefficient = np.log(largest) / largest
    return np.asarray(np.exp(coefficient * data.astype(np.float64)))
