"""The finished pieces of feature maps on disk, so that a broken-off run can go on."""

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from cli.common import progress
from pipeline.errors import ReadError
from pipeline.io import read_json, write_json
from pipeline.io.atomic import make_folder, remove_stale
from pipeline.io.tensors import read_tensors, write_tensors
from pipeline.provenance import package_versions
from pipeline.radiomics.maps.measure import measure
from pipeline.versions import BLOCK_VERSIONS

if TYPE_CHECKING:
    import numpy.typing as npt

    from pipeline.radiomics.maps.measure import Plan


class Pieces:
    """Pieces in a folder: each is written whole or not at all.

    Parameters
    ----------
    folder : Path
        Where they lie until the maps are written.
    plan : Plan
        What they are pieces of.
    """

    def __init__(self, folder: Path, plan: "Plan") -> None:
        self._folder = folder
        self._plan = plan

    def begin(self, asked: Mapping[str, Any]) -> None:
        """Keep the pieces of an earlier run that was asked the same; remove those of another."""
        make_folder(self._folder)
        versions = package_versions()
        record = {
            **asked,
            "columns": self._plan.columns,
            "pieces": [[part.start, part.stop] for part in self._plan.pieces],
            "versions": [BLOCK_VERSIONS["radiomics"], versions["numpy"], versions["torch"]],
        }
        plain = json.loads(json.dumps(record))
        if self._recorded() != plain:
            self._remove()
            write_json(self._folder / "plan.json", plain)

    def measure_missing(self) -> None:
        """Measure the pieces that are not there yet."""
        parts = self._plan.pieces
        missing = [index for index in range(len(parts)) if not self._path(index).is_file()]
        if len(missing) < len(parts):
            logging.getLogger(__name__).info(
                "%s: %d of %d pieces are there", self._folder, len(parts) - len(missing), len(parts)
            )
        for index in progress(missing, total=len(missing), what="pieces"):
            values = torch.from_numpy(measure(self._plan, parts[index]))
            write_tensors(self._path(index), {"values": values})

    def columns(self, memory_mb: float) -> Iterator[tuple[str, "npt.NDArray[np.float64]"]]:
        """Yield each column with its values, read as many at once as the memory holds."""
        voxels = len(self._plan.region.positions)
        step = max(1, int(memory_mb * 1e6 / (16 * voxels)))
        for start in range(0, len(self._plan.columns), step):
            names = self._plan.columns[start : start + step]
            values = np.empty((len(names), voxels))
            for index, part in enumerate(self._plan.pieces):
                piece = read_tensors(self._path(index))["values"]
                values[:, part] = piece[start : start + step].numpy()
            yield from zip(names, values, strict=True)

    def clear(self) -> None:
        """Remove the pieces, and the folder if nothing else is in it."""
        self._remove()
        (self._folder / "plan.json").unlink()
        remove_stale(self._folder)
        if not any(self._folder.iterdir()):
            self._folder.rmdir()

    def _recorded(self) -> Any:
        try:
            return read_json(self._folder / "plan.json")
        except ReadError:
            return None

    def _remove(self) -> None:
        for path in self._folder.glob("piece-*.safetensors"):
            path.unlink()

    def _path(self, index: int) -> Path:
        return self._folder / f"piece-{index:06d}.safetensors"
