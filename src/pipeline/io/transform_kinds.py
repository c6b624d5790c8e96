"""ITK's linear 3-D transforms as matrices, from the parameters that ITK stores of each kind."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Kind:
    """How the parameters of one kind are laid out.

    Attributes
    ----------
    parameters : int
        How many there are.
    fixed : tuple of int
        How many fixed parameters there may be: the centre, and for Euler angles their order.
    translation : slice
        Where the translation stands among the parameters.
    linear : callable
        Parameters and fixed parameters -> (3, 3) matrix.
    """

    parameters: int
    fixed: tuple[int, ...]
    translation: slice
    linear: Callable[[Matrix, Matrix], Matrix]


def _affine(parameters: Matrix, _: Matrix) -> Matrix:
    return parameters[:9].reshape(3, 3)


def _translation(_: Matrix, __: Matrix) -> Matrix:
    return np.eye(3)


def _euler(parameters: Matrix, fixed: Matrix) -> Matrix:
    """Return Rz Rx Ry, or Rz Ry Rx where the fourth fixed parameter says so."""
    about_x, about_y, about_z = (_about(axis, parameters[axis]) for axis in range(3))
    if fixed.size == 4 and fixed[3] != 0:
        return about_z @ about_y @ about_x
    return about_z @ about_x @ about_y


def _about(axis: int, angle: float) -> Matrix:
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
    return matrix


def _versor(parameters: Matrix, _: Matrix) -> Matrix:
    """Return the rotation of a unit quaternion, of which the vector part is stored."""
    x, y, z = parameters[:3]
    w = np.sqrt(max(0.0, 1.0 - x * x - y * y - z * z))
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray(np.eye(3) + 2.0 * w * cross + 2.0 * cross @ cross)


def _similarity(parameters: Matrix, fixed: Matrix) -> Matrix:
    return float(parameters[6]) * _versor(parameters, fixed)


_AFFINE = Kind(12, (3,), slice(9, 12), _affine)

#: Name in ITK, without type and dimensions -> layout.
KINDS = {
    "AffineTransform": _AFFINE,
    "MatrixOffsetTransformBase": _AFFINE,
    "TranslationTransform": Kind(3, (0,), slice(0, 3), _translation),
    "Euler3DTransform": Kind(6, (3, 4), slice(3, 6), _euler),
    "VersorRigid3DTransform": Kind(6, (3,), slice(3, 6), _versor),
    "Similarity3DTransform": Kind(7, (3,), slice(3, 6), _similarity),
}
