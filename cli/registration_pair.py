"""One pair of images from files to files: read, check, register, write. For one or for many."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import EmptyRegionError, ImageError, MedpipeError

if TYPE_CHECKING:
    from pipeline.registration.engine import RegistrationSettings
    from pipeline.types import Volume


@dataclass(frozen=True)
class PairFiles:
    """What a registration reads; see the options of `medpipe register`.

    Attributes
    ----------
    fixed, moving : Path
        Images.
    fixed_mask, moving_mask : Path, optional
        Regions of interest.
    compare_fixed, compare_moving : Path, optional
        Only inside are the images compared.
    ignore_fixed, ignore_moving : Path, optional
        Inside, the images are not compared.
    moving_labels : Path, optional
        Labels to carry along.
    """

    fixed: Path
    moving: Path
    fixed_mask: Path | None = None
    moving_mask: Path | None = None
    compare_fixed: Path | None = None
    compare_moving: Path | None = None
    ignore_fixed: Path | None = None
    ignore_moving: Path | None = None
    moving_labels: Path | None = None

    @property
    def paths(self) -> list[Path]:
        """The files that were given."""
        given = (getattr(self, field.name) for field in fields(self))
        return [path for path in given if path is not None]


@dataclass(frozen=True, eq=False)
class PairImages:
    """What was read: two images, and each mask on the grid of its image.

    Attributes
    ----------
    phases : dict
        ``fixed_time_s``, ``moving_time_s``: which phase was taken, of a series.
    """

    fixed: "Volume"
    moving: "Volume"
    fixed_mask: "Volume | None"
    moving_mask: "Volume | None"
    fixed_compare: "Volume | None"
    moving_compare: "Volume | None"
    labels: "Volume | None"
    phases: dict[str, float]


def register_pair(
    files: PairFiles,
    folder: Path,
    *,
    engine: str,
    settings: "RegistrationSettings",
    phase_time_s: float,
    pictures: bool = True,
) -> None:
    """Register one pair and write everything, with sidecars, into `folder`.

    Raises
    ------
    MedpipeError
        Naming the file at fault; then nothing was written.
    """
    from dataclasses import asdict

    from cli.registration_outputs import remove_outputs, write_registration
    from pipeline.provenance import write_sidecars
    from pipeline.registration import engine as engines

    engines.load_engine(engine)
    images = read_pair(files, phase_time_s)
    with naming_files(files):
        result = engines.register(
            images.fixed,
            images.moving,
            engine=engine,
            settings=settings,
            fixed_mask=images.fixed_mask,
            moving_mask=images.moving_mask,
            fixed_compare=images.fixed_compare,
            moving_compare=images.moving_compare,
        )
    outputs = write_registration(
        folder,
        result,
        images.fixed,
        images.moving,
        fixed_mask=images.fixed_mask,
        labels=images.labels,
        phases=images.phases,
        pictures=pictures,
    )
    try:
        write_sidecars(
            outputs,
            block="register",
            inputs=files.paths,
            settings={"engine": engine, "phase_time_s": phase_time_s, **asdict(settings)},
            seed=settings.seed,
            measured={**images.phases, **result.metrics},
        )
    except BaseException:
        remove_outputs(outputs)  # a result without its origin is half a result
        raise


def read_pair(files: PairFiles, phase_time_s: float) -> PairImages:
    """Read a pair; every mask must lie on the grid of its own image."""
    fixed, fixed_time = _read_phase(files.fixed, phase_time_s)
    moving, moving_time = _read_phase(files.moving, phase_time_s)
    times = {"fixed_time_s": fixed_time, "moving_time_s": moving_time}
    return PairImages(
        fixed,
        moving,
        _read_mask(files.fixed_mask, fixed, files.fixed),
        _read_mask(files.moving_mask, moving, files.moving),
        _read_compared(files.compare_fixed, files.ignore_fixed, fixed, files.fixed),
        _read_compared(files.compare_moving, files.ignore_moving, moving, files.moving),
        _read_labels(files.moving_labels, moving, files.moving),
        {name: time for name, time in times.items() if time is not None},
    )


@contextlib.contextmanager
def naming_files(files: PairFiles) -> Iterator[None]:
    """Say in errors of the engine, which knows no files, which file is meant."""
    try:
        yield
    except MedpipeError as error:
        fixed, moving = f"the fixed image {files.fixed}", f"the moving image {files.moving}"
        text = str(error).replace("the fixed and the moving image", f"{fixed} and {moving}")
        if text == str(error):
            text = text.replace("the fixed image", fixed).replace("the moving image", moving)
        if text == str(error):
            text = f"{files.moving} onto {files.fixed}: {text}"
        error.args = (text,)
        raise


def _read_phase(path: Path, phase_time_s: float) -> tuple["Volume", float | None]:
    """Return the image, or the nearest phase of a series and its time."""
    from pipeline.io import read_series

    series = read_series(path)
    if len(series.time_s) == 1:
        return series.image(0), None
    nearest = min(range(len(series.time_s)), key=lambda i: abs(series.time_s[i] - phase_time_s))
    return series.image(nearest), float(series.time_s[nearest])


def _read_mask(path: Path | None, image: "Volume", image_path: Path) -> "Volume | None":
    if path is None:
        return None
    from pipeline.grid_difference import check_same_grid
    from pipeline.io import read_mask

    mask = read_mask(path, like=image.grid)
    check_same_grid(image.grid, mask.grid, (str(image_path), str(path)))
    return mask


def _read_compared(
    inside: Path | None, ignored: Path | None, image: "Volume", image_path: Path
) -> "Volume | None":
    """Return where to compare: inside the one mask and outside the other; None for everywhere."""
    import numpy as np

    from pipeline.types import Volume

    compare = _read_mask(inside, image, image_path)
    ignore = _read_mask(ignored, image, image_path)
    if compare is None and ignore is None:
        return None
    kept = np.ones(image.data.shape, dtype=np.uint8) if compare is None else compare.data
    if ignore is not None:
        kept = kept * (ignore.data == 0)
    if not kept.any():
        named = " and ".join(str(path) for path in (inside, ignored) if path is not None)
        raise EmptyRegionError(
            f"{named}: no voxel of {image_path} is left to compare; "
            "give a larger --compare or a smaller --ignore mask"
        )
    return Volume(kept.astype(np.uint8), image.grid)


def _read_labels(path: Path | None, image: "Volume", image_path: Path) -> "Volume | None":
    """Return labels of the moving image in their stored type."""
    if path is None:
        return None
    from pipeline.grid_difference import check_same_grid
    from pipeline.io import read_mask, read_volume

    dicom = path.is_dir() or path.suffix.lower() == ".dcm"
    labels = read_mask(path, like=image.grid) if dicom else read_volume(path)
    check_same_grid(image.grid, labels.grid, (str(image_path), str(path)))
    broken = labels.data[labels.data != labels.data.round()]
    if broken.size:
        raise ImageError(
            f"{path}: not labels: {broken.size:,} voxels are not whole numbers (first: "
            f"{broken[0]:g}); give a label map"
        )
    return labels
