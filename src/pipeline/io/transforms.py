"""Affine transforms: ITK text files (.tfm, .txt) in and out, and ANTs' binary .mat files in.

ITK text is read by SimpleITK, ANTs, Slicer and elastix alike. ANTs' 0GenericAffine.mat is a
MATLAB level 4 file of two vectors (format: "MAT-File Format", MathWorks, appendix A).
"""

import math
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.errors import ReadError
from pipeline.io.atomic import write_text
from pipeline.io.sources import opened
from pipeline.io.transform_kinds import KINDS

_HEAD = "#Insight Transform File V1.0"
_WRITTEN = "AffineTransform_double_3_3"
_MAX_BYTES = 1 << 16
_REMEDY = (
    "save one 3-D linear transform (affine, rigid, similarity or translation) as ITK text "
    "(.tfm or .txt); give the parts of a composite transform one by one"
)
#: Of a level 4 variable: type, rows, columns, imaginary flag, bytes of the name.
_MAT_HEADER = struct.Struct("<5i")
_MAT_TYPES = {0: "<f8", 10: "<f4"}

Matrix = npt.NDArray[np.float64]


def read_affine(path: Path) -> Matrix:
    """Read a 3-D affine transform, or one of ITK's other linear kinds as an affine one.

    Parameters
    ----------
    path : Path
        ITK text (.tfm, .txt) or an ITK or ANTs .mat file, told from the content.

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
    raw = _raw(path)
    kind, parameters, fixed = _from_mat(path, raw) if _is_mat(raw) else _from_text(path, raw)
    known = KINDS.get(kind.removesuffix("_3_3").rpartition("_")[0])
    if known is None or not kind.endswith(("_double_3_3", "_float_3_3")):
        raise ReadError(f"{path}: holds {kind or 'no transform'}; {_REMEDY}")
    _check(path, "Parameters", parameters, (known.parameters,))
    _check(path, "FixedParameters", fixed, known.fixed)
    centre = fixed[:3] if fixed.size else np.zeros(3)
    matrix = np.eye(4)
    matrix[:3, :3] = known.linear(parameters, fixed)
    translation = parameters[known.translation]
    matrix[:3, 3] = translation + centre - matrix[:3, :3] @ centre
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
        f"Transform: {_WRITTEN}",
        "Parameters: " + " ".join(repr(number) for number in numbers),
        "FixedParameters: 0.0 0.0 0.0",
    ]
    write_text(Path(path), "\n".join(lines) + "\n")


def _raw(path: Path) -> bytes:
    with opened(path) as stream:
        raw = stream.read(_MAX_BYTES + 1)
    if len(raw) > _MAX_BYTES:
        raise ReadError(f"{path}: larger than {_MAX_BYTES:,} bytes, no affine; {_REMEDY}")
    return raw


def _from_text(path: Path, raw: bytes) -> tuple[str, Matrix, Matrix]:
    """Return the kind, the parameters and the fixed parameters of a text file."""
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError as error:
        raise ReadError(f"{path}: not a text file; {_REMEDY}") from error
    if not text.startswith("#Insight Transform File"):
        raise ReadError(f"{path}: not an ITK transform file; {_REMEDY}")
    rows = [line.partition(":") for line in text.splitlines() if not line.startswith("#")]
    pairs = [(name.strip(), value.strip()) for name, colon, value in rows if colon]
    kinds = [value for name, value in pairs if name == "Transform"]
    if len(kinds) != 1:
        raise ReadError(f"{path}: holds {', '.join(kinds) or 'no transform'}; {_REMEDY}")
    fields = dict(pairs)
    return (
        kinds[0],
        _numbers(path, fields, "Parameters"),
        _numbers(path, fields, "FixedParameters"),
    )


def _numbers(path: Path, fields: dict[str, str], name: str) -> Matrix:
    try:
        return np.array([float(part) for part in fields.get(name, "").split()])
    except ValueError as error:
        raise ReadError(f"{path}: {name} are not numbers ({error}); {_REMEDY}") from error


def _is_mat(raw: bytes) -> bool:
    return len(raw) > _MAT_HEADER.size and _MAT_HEADER.unpack_from(raw)[0] in _MAT_TYPES


def _from_mat(path: Path, raw: bytes) -> tuple[str, Matrix, Matrix]:
    """Return the same of a .mat file: parameters under the kind's name, and "fixed"."""
    variables: list[tuple[str, Matrix]] = []
    place = 0
    while place < len(raw):
        name, values, place = _mat_variable(path, raw, place)
        variables.append((name, values))
    if len(variables) != 2 or variables[1][0] != "fixed":
        names = ", ".join(name[:40] for name, _ in variables)
        raise ReadError(f"{path}: holds {names or 'no transform'}; {_REMEDY}")
    return variables[0][0], variables[0][1], variables[1][1]


def _mat_variable(path: Path, raw: bytes, place: int) -> tuple[str, Matrix, int]:
    """Return name and values of the variable at `place`, and where the next one starts."""
    try:
        kind, rows, columns, imaginary, length = _MAT_HEADER.unpack_from(raw, place)
        dtype = np.dtype(_MAT_TYPES[kind])
    except (struct.error, KeyError) as error:
        raise ReadError(f"{path}: damaged .mat file; copy it again, or {_REMEDY}") from error
    start = place + _MAT_HEADER.size + length
    count = rows * columns
    end = start + count * dtype.itemsize
    if imaginary or min(rows, columns, length) < 0 or end > len(raw):
        raise ReadError(f"{path}: truncated or damaged .mat file; copy it again, or {_REMEDY}")
    name = raw[place + _MAT_HEADER.size : start].rstrip(b"\0").decode("ascii", "replace")
    return name, np.frombuffer(raw[start:end], dtype=dtype).astype(np.float64), end


def _check(path: Path, name: str, values: Matrix, counts: tuple[int, ...]) -> None:
    if values.size not in counts or not all(math.isfinite(v) for v in values):
        wanted = " or ".join(str(count) for count in counts)
        raise ReadError(f"{path}: {name} must be {wanted} finite numbers; {_REMEDY}")
