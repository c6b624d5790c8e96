"""What the sub-commands of `medpipe transform` read, check and write."""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.common import beside
from pipeline.errors import GeometryError, ReadError, SettingsError

if TYPE_CHECKING:
    from pipeline.registration.chain import Composition, Link
    from pipeline.types import DisplacementField, Geometry, Volume

LOGGER = logging.getLogger(__name__)

#: More different whole numbers than this are no labels.
_MOST_LABELS = 64
#: An inverse that misses by more than this part of a voxel is worth a warning.
_INVERTED_WITHIN = 0.1
_AFFINE_ENDINGS = (".tfm", ".txt", ".mat")
#: NAME,-1 as in greedy; [NAME,1] and [NAME,0] as in ANTs.
_INVERSE = re.compile(r"^(?:\[(?P<boxed>.+),(?P<flag>[01])\]|(?P<plain>.+),-1)$")
_POINT_COLUMNS = ("x_mm", "y_mm", "z_mm")


def read_chain(names: Sequence[str]) -> list["Link"]:
    """Read the transforms of a chain; NAME,-1 or [NAME,1] is the inverse."""
    from pipeline.io import read_affine, read_field
    from pipeline.registration.chain import Link

    links = []
    for name in names:
        found = _INVERSE.match(name)
        path = Path(name if found is None else found["boxed"] or found["plain"])
        inverted = found is not None and found["flag"] != "0"
        affine = path.suffix.lower() in _AFFINE_ENDINGS
        links.append(Link(str(path), read_affine(path) if affine else read_field(path), inverted))
    return links


def paths(links: Sequence["Link"]) -> list[Path]:
    """Return the files of a chain."""
    return [Path(link.name) for link in links]


def given(path: Path | None) -> list[Path]:
    """Return the file of an option as a list, empty when it was not given."""
    return [] if path is None else [path]


def described(links: Sequence["Link"]) -> list[str]:
    """Return the chain in words that `read_chain` understands, without folders."""
    return [Path(link.name).name + (",-1" if link.inverted else "") for link in links]


def output_grid(like: Path | None, links: Sequence["Link"]) -> "Geometry":
    """Return the grid of `like`, else that of the first link."""
    from pipeline.io import read_series
    from pipeline.types import DisplacementField

    if like is not None:
        return read_series(like).grid
    first = links[0]
    if first.inverted or not isinstance(first.map, DisplacementField):
        raise SettingsError(
            f"{first.name}: the chain does not start with a field that says where its result lies; "
            "name the fixed image with --like"
        )
    return first.map.grid


def read_image(path: Path, interpolation: str, labels: bool | None) -> "Volume":
    """Read what is to be carried; refuse a slice, and labels that would be blended.

    Parameters
    ----------
    path : Path
        3-D image.
    interpolation : str
        How it will be read between its voxels.
    labels : bool, optional
        What the user says it is; None when nothing was said.
    """
    from pipeline.io import read_labels, read_volume

    image = read_labels(path) if labels else read_volume(path)
    if image.grid.shape[2] == 1:
        raise GeometryError(
            f"{path}: a single slice of {image.grid.shape[0]} x {image.grid.shape[1]} voxels: the "
            "transforms are 3-D; give the whole volume"
        )
    if labels is None and interpolation != "nearest":
        _check_intensities(path, image)
    return image


def _check_intensities(path: Path, image: "Volume") -> None:
    import numpy as np

    values = np.unique(image.data)
    if len(values) <= _MOST_LABELS and np.array_equal(values, np.rint(values)):
        shown = ", ".join(f"{v:g}" for v in values[:5])
        raise SettingsError(
            f"{path}: holds {len(values)} different whole numbers ({shown}, ...) and looks like "
            "labels, which must not be blended: add --labels, or --image if they are intensities"
        )


def warn_lost_labels(before: "Volume", after: "Volume") -> None:
    """Log the labels that have no voxel left."""
    import numpy as np

    lost = np.setdiff1d(np.unique(before.data), np.append(np.unique(after.data), 0))
    if lost.size:
        LOGGER.warning(
            "no voxel is left of label %s: outside the output grid, or smaller than its voxels",
            ", ".join(f"{v:g}" for v in lost),
        )


def warn_of(found: "Composition", links: Sequence["Link"]) -> None:
    """Log what of the output grid a field did not cover, and what was not inverted."""
    for link, share in zip(links, found.outside_fraction, strict=True):
        if share > 0:
            LOGGER.warning(
                "%s: %.2g %% of the points lie beyond this field; the displacement at its border "
                "was taken there (ITK and ANTs take none)", link.name, 100 * share,
            )  # fmt: skip
    warn_not_inverted(found.residual_mm * found.covered, found.field.grid)


def warn_not_inverted(residual_mm: Any, grid: "Geometry") -> int:
    """Log how many points are not inverted, and where the worst is; return their number.

    Parameters
    ----------
    residual_mm : (I, J, K) array
        Errors of the inversion; 0 where nothing was inverted.
    grid : Geometry
        Their grid.
    """
    limit = _INVERTED_WITHIN * min(grid.spacing_mm)
    missed = int((residual_mm > limit).sum())
    if missed:
        LOGGER.warning(
            "%d points (%.2g %%) are not inverted to %.2g mm; the worst misses by %.3g mm, at %s",
            missed, 100 * missed / residual_mm.size, limit, residual_mm.max(),
            place(residual_mm, grid),
        )  # fmt: skip
    return missed


def check_folds(path: Path, field: "DisplacementField", allowed: bool) -> int:
    """Return how many voxels fold; GeometryError when that is not allowed."""
    from pipeline.registration.jacobian import jacobian_map

    determinant = jacobian_map(field).data
    folds = int((determinant <= 0).sum())
    if folds:
        what = (
            f"{path}: the field folds at {folds} voxels ({folds / determinant.size:.2%}), the "
            f"worst (volume ratio {determinant.min():.3g}) at {place(-determinant, field.grid)}"
        )
        if not allowed:
            raise GeometryError(
                f"{what}: it has no inverse there; register with more regularisation, or invert "
                "the rest with --allow-folds"
            )
        LOGGER.warning("%s", what)
    return folds


def place(values: Any, grid: "Geometry") -> str:
    """Return where the largest of `values` (I, J, K) is, in words."""
    import numpy as np

    from pipeline.geometry import index_to_world

    index = np.unravel_index(int(np.argmax(values)), grid.shape)
    x, y, z = index_to_world(grid, index)
    return f"voxel ({', '.join(str(n) for n in index)}), LPS ({x:.1f}, {y:.1f}, {z:.1f}) mm"


def move_points(
    table: Path, links: Sequence["Link"], out: Path | None
) -> tuple[Path, dict[str, Any]]:
    """Write a table with its points carried through the chain; a column says what is covered.

    Returns
    -------
    Path
        The table written.
    dict
        What was found on the way.
    """
    import numpy as np

    from pipeline.io import read_table, write_table
    from pipeline.registration.chain import Chain

    frame = read_table(table)
    missing = [name for name in _POINT_COLUMNS if name not in frame.columns]
    if missing:
        raise ReadError(
            f"{table}: no column {', '.join(missing)}; points need x_mm, y_mm and z_mm, in LPS"
        )
    try:
        points = frame[list(_POINT_COLUMNS)].to_numpy(dtype=np.float64)
    except ValueError as error:
        raise ReadError(f"{table}: coordinates are not numbers ({error}); give mm in LPS") from None
    bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if bad.size or not len(points):
        where = f"row {bad[0] + 1} has no full position" if bad.size else "the table has no rows"
        raise ReadError(f"{table}: {where}; give x_mm, y_mm and z_mm of every point")
    passage = Chain(links)(points)
    covered = passage.inside.all(axis=0)
    for name, column in zip(_POINT_COLUMNS, passage.points_mm.T, strict=True):
        frame[name] = column
    frame["covered"] = covered
    if not covered.all():
        LOGGER.warning(
            "%d of %d points lie beyond a field of the chain; the displacement at its border was "
            "taken there (column `covered` is 0)", int((~covered).sum()), len(points),
        )  # fmt: skip
    target = out or beside(table, "_moved.tsv")
    write_table(target, frame)
    return target, {
        "points": len(points),
        "points_not_covered": int((~covered).sum()),
        "inverse_residual_max_mm": float(passage.residual_mm.max()),
    }


def measured(found: "Composition") -> dict[str, Any]:
    """Return the numbers of a composition for the sidecar."""
    return {
        "outside_fraction": list(found.outside_fraction),
        "inverse_residual_max_mm": float((found.residual_mm * found.covered).max()),
        "between_voxels_mean_mm": found.between_mean_mm,
        "between_voxels_p95_mm": found.between_p95_mm,
        "between_voxels_max_mm": found.between_max_mm,
    }


def record(
    target: Path, inputs: Sequence[Path], settings: Mapping[str, Any], found: Mapping[str, Any]
) -> None:
    """Write the sidecar of a result."""
    from pipeline.provenance import write_sidecars

    write_sidecars([target], block="register", inputs=inputs, settings=settings, measured=found)


def limit_threads(threads: int) -> None:
    """Limit the threads of ITK."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
