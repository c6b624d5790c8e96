"""Affine transforms as ITK text files (.tfm), readable by SimpleITK, ANTs, Slicer and elastix."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.errors import ReadError
from pipeline.io.atomic import write_text

_HEAD = "#Insight Transform File V1.0"
_KIND = "AffineTransform_double_3_3"
_KINDS = (_KIND, "MatrixOffsetTransformBase_double_3_3", "AffineTransform_float_3_3",
          "MatrixOffsetTransformBase_float_3_3")  # fmt: skip
_MAX_BYTES = 1 << 16
_REMEDY = "save one 3-D affine transform as ITK text (.tfm or .txt)"


def read_affine(path: Path) -> npt.NDArray[np.float64]:
    """Read a 3-D affine transform.

    Returns
    -------
    (4, 4) float array
        Maps a fixed point to a moving point, both in LPS mm, as ITK does when it resamples.

    Raises
    ------
    ReadError
        Missing, of another kind, or not invertible.
    """
    path = Path(path)
    fields = _fields(path, _text(path))
    values = _numbers(path, fields, "Parameters", 12)
    centre = _numbers(path, fields, "FixedParameters", 3)
    matrix = np.eye(4)
    matrix[:3, :3] = values[:9].reshape(3, 3)
    matrix[:3, 3] = values[9:] + centre - matrix[:3, :3] @ centre
    if not abs(np.linalg.det(matrix[:3, :3])) > 1e-12:
        raise ReadError(f"{path}: the matrix cannot be inverted (determinant 0); {_REMEDY}")
    return matrix


def write_affine(path: Path, matrix: npt.ArrayLike) -> None:
    """Write a (4, 4) matrix (fixed point to moving point, LPS mm) as ITK text, exact to the bit."""
    values = np.asarray(matrix, dtype=np.float64)
    if values.shape != (4, 4) or not np.isfinite(values).all():
        raise ValueError(f"affine must be a finite (4, 4) matrix, not {values.shape}")
    numbers = [*values[:3, :3].ravel().tolist(), *values[:3, 3].tolist()]
    lines = [
        _HEAD,
        "#Transform 0",
        f"Transform: {_KIND}",
        "Parameters: " + " ".join(repr(number) for number in numbers),
        "FixedParameters: 0.0 0.0 0.0",
    ]
    write_text(Path(path), "\n".join(lines) + "\n")


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ReadError(f"{path}: larger than {_MAX_BYTES:,} bytes, no affine; {_REMEDY}")
        return path.read_text(encoding="ascii")
    except OSError as error:
        raise ReadError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise ReadError(f"{path}: not a text file; {_REMEDY}") from error


def _fields(path: Path, text: str) -> dict[str, str]:
    if not text.startswith("#Insight Transform File"):
        raise ReadError(f"{path}: not an ITK transform file; {_REMEDY}")
    rows = [line.partition(":") for line in text.splitlines() if not line.startswith("#")]
    pairs = [(name.strip(), value.strip()) for name, colon, value in rows if colon]
    kinds = [value for name, value in pairs if name == "Transform"]
    if len(kinds) != 1 or kinds[0] not in _KINDS:
        raise ReadError(f"{path}: holds {', '.join(kinds) or 'no transform'}; {_REMEDY}")
    return dict(pairs)


def _numbers(path: Path, fields: dict[str, str], name: str, count: int) -> npt.NDArray[np.float64]:
    try:
        values = np.array([float(part) for part in fields.get(name, "").split()])
    except ValueError as error:
        raise ReadError(f"{path}: {name} are not numbers ({error}); {_REMEDY}") from error
    if values.shape != (count,) or not np.isfinite(values).all():
        raise ReadError(f"{path}: {name} must be {count} finite numbers; {_REMEDY}")
    return values
