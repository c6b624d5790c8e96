"""The files of one registration. All are computed first; a failure leaves none behind."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.registration.engine import RegistrationResult
    from pipeline.types import Volume

Writers = dict[str, Callable[[Path], None]]

#: Files that only some registrations make.
_OCCASIONAL = ("inverse_consistency.nii.gz", "warped_labels.nii.gz", "step_jacobian.nii.gz",
               "checkerboard.png", "grid.png", "convergence.png")  # fmt: skip


def write_registration(
    folder: Path,
    result: "RegistrationResult",
    fixed: "Volume",
    moving: "Volume",
    *,
    fixed_mask: "Volume | None" = None,
    labels: "Volume | None" = None,
    phases: Mapping[str, float] | None = None,
    pictures: bool = True,
) -> list[Path]:
    """Write a registration into a folder and return the files, without sidecars.

    Parameters
    ----------
    folder : Path
        Made when missing. Files of an earlier registration that this one does not make are
        removed, so that the folder tells of one registration only.
    result : RegistrationResult
        What the engine found.
    fixed, moving : Volume
        The two images.
    fixed_mask : Volume, optional
        Region of interest on the fixed grid: the pictures are cut through it.
    labels : Volume, optional
        Labels of the moving image; carried over by nearest neighbour, type and values kept.
    phases : mapping, optional
        Which phase of a series was used, for metrics.json.
    pictures : bool
        Also draw checkerboard.png, grid.png and, where the engine tells, convergence.png.

    Raises
    ------
    WriteError
        Disk full, folder read-only. What was written before is removed again.
    """
    from pipeline.registration.fields import warp

    warped = warp(moving, result.displacement, outside=float(moving.data.min()))
    writers = _volumes(result, warped, labels) | _documents(result, phases or {})
    if pictures:
        writers |= _pictures(result, fixed, moving, warped, fixed_mask)
    written: list[Path] = []
    try:
        for name, write in writers.items():
            written.append(folder / name)
            write(folder / name)
    except BaseException:
        remove_outputs(written)
        raise
    remove_outputs([folder / name for name in _OCCASIONAL if name not in writers])
    return written


def _volumes(result: "RegistrationResult", warped: "Volume", labels: "Volume | None") -> Writers:
    from pipeline.io import write_field, write_volume
    from pipeline.registration.fields import warp_labels
    from pipeline.registration.jacobian import log_jacobian
    from pipeline.types import Volume

    volumes = {
        "warped": warped,
        "jacobian": result.jacobian,
        "jacobian_log": Volume(log_jacobian(result.jacobian.data), result.jacobian.grid),
    }
    if labels is not None:
        volumes["warped_labels"] = warp_labels(labels, result.displacement)
    if result.consistency is not None:
        volumes["inverse_consistency"] = result.consistency
    return {
        "displacement.nii.gz": partial(write_field, field=result.displacement),
        "inverse.nii.gz": partial(write_field, field=result.inverse),
        **{f"{name}.nii.gz": partial(write_volume, volume=v) for name, v in volumes.items()},
    }


def _documents(result: "RegistrationResult", phases: Mapping[str, float]) -> Writers:
    from pipeline.io import write_affine, write_json

    return {
        "affine.tfm": partial(write_affine, matrix=result.affine),
        "metrics.json": partial(write_json, document={**phases, **result.metrics}),
    }


def _pictures(
    result: "RegistrationResult",
    fixed: "Volume",
    moving: "Volume",
    warped: "Volume",
    mask: "Volume | None",
) -> Writers:
    from pipeline.io import write_bytes
    from pipeline.report import registration_figures as figures
    from pipeline.report.convergence_figure import convergence_png
    from pipeline.report.panels import sheet_png

    view = figures.view_of(fixed, mask, result.jacobian)
    change = figures.Change(result.jacobian, result.displacement, result.affine)
    drawn = {
        "checkerboard.png": sheet_png(figures.checkerboard_sheet(view, fixed, moving, warped)),
        "grid.png": sheet_png(figures.change_sheet(view, fixed, moving, change)),
    }
    if result.traces:
        drawn["convergence.png"] = convergence_png(result.traces)
    return {name: partial(write_bytes, content=content) for name, content in drawn.items()}


def remove_outputs(paths: list[Path]) -> None:
    """Remove files and their sidecars, those that are there."""
    for path in paths:
        path.unlink(missing_ok=True)
        path.with_name(path.name + ".prov.json").unlink(missing_ok=True)
