"""Write beside the target, sync, rename: a kill leaves the old file, the new file, or none."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

_TEMPORARY = re.compile(r"^\..+\.(\d+)\.tmp$")


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `target`; on success it becomes `target`.

    A target that already holds the same bytes is left alone, time stamp included, so that
    repeating a finished step makes nothing downstream look out of date.

    Parameters
    ----------
    target : Path
        The final file. Its folder is made when missing.

    Yields
    ------
    Path
        Where to write. Removed when the block raises.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(target.parent)
    temporary = target.parent / f".{target.name}.{os.getpid()}.tmp"
    try:
        yield temporary
        _sync(temporary)
        if _same_bytes(temporary, target):
            temporary.unlink()
        else:
            os.replace(temporary, target)
            _sync(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(target: Path, content: bytes) -> None:
    """Write `content` to `target` atomically."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)


def write_text(target: Path, content: str) -> None:
    """Write `content` to `target` atomically, UTF-8 with unix line ends on every platform."""
    write_bytes(target, content.encode("utf-8"))


def remove_stale(folder: Path) -> None:
    """Remove temporary files that a killed process left in `folder`."""
    for path in folder.iterdir():
        match = _TEMPORARY.match(path.name)
        if match and not _is_alive(int(match.group(1))):
            path.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _same_bytes(first: Path, second: Path) -> bool:
    if not second.is_file() or first.stat().st_size != second.stat().st_size:
        return False
    with first.open("rb") as one, second.open("rb") as two:
        while chunk := one.read(1 << 20):
            if chunk != two.read(1 << 20):
                return False
    return True
