"""What all workers share: the request, and the mark that the imports are over."""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Request:
    """What is to be registered; see `engines.run_engine`."""

    fixed: str
    moving: str
    fixed_compare: str | None
    moving_compare: str | None
    folder: str
    threads: int
    options: dict[str, str]

    @property
    def field(self) -> str:
        """Where the displacement field is expected."""
        return str(Path(self.folder) / "field.nii")

    @property
    def affine(self) -> bool:
        """Whether a rigid and affine stage comes first."""
        return self.options["affine"] == "yes"

    def scratch(self, name: str) -> str:
        """Return a path in the run's folder."""
        return str(Path(self.folder) / name)


def begin() -> Request:
    """Return the request of this process; call it when all imports are done."""
    folder = Path(sys.argv[1])
    mark = {"monotonic": time.monotonic(), "cpu_s": time.process_time()}
    (folder / "started.json").write_text(json.dumps(mark))
    return Request(**json.loads((folder / "request.json").read_text()))
