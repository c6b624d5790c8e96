"""One run at a time in a folder, by a kernel lock that a killed process cannot leave behind."""

import fcntl
import os
from pathlib import Path
from typing import TextIO

from pipeline.errors import MedpipeError


def claim(path: str | Path) -> TextIO:
    """Lock `path` and return the open file; the lock lasts until it is closed or the process ends.

    Raises
    ------
    MedpipeError
        When another run holds it, with its process number.
    """
    stream = Path(path).open("a+", encoding="utf-8")  # noqa: SIM115  (open for as long as the run)
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.seek(0)
        holder = stream.read().strip() or "unknown"
        stream.close()
        raise MedpipeError(
            f"another run (process {holder}) works in this folder;"
            " wait until it ends, or use another folder"
        ) from None
    stream.seek(0)
    stream.truncate()
    stream.write(f"{os.getpid()}\n")
    stream.flush()
    return stream
