"""Write beside the target, sync, rename: a kill leaves the old file, the new file, or none."""

import contextlib
import errno
import hashlib
import itertools
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import WriteError

#: .<target>.<host>-<process>-<count>.tmp
_TEMPORARY = re.compile(r"^\..+\.([0-9a-f]{8})-(\d+)-\d+\.tmp$")

#: Longest part of the target's name that a temporary name repeats (file systems allow 255).
_MAX_STEM_BYTES = 180

#: What the disk or its owner refuses, in words with a remedy.
_REFUSALS = {
    errno.ENOSPC: "the disk is full; free some space or write to another disk",
    errno.EDQUOT: "your disk quota is used up; free some space or write to another disk",
    errno.EROFS: "the disk is read-only; write to another folder",
    errno.EACCES: "no permission to write there; choose another folder or mend its permissions",
    errno.EPERM: "no permission to write there; choose another folder or mend its permissions",
    errno.ENAMETOOLONG: "the file name is too long for this disk; choose a shorter one",
    errno.EISDIR: "a folder of that name is in the way; remove it or choose another name",
    errno.ENOTDIR: "a file is in the way of one of its folders; remove it or choose another name",
    errno.EEXIST: "a file is in the way of one of its folders; remove it or choose another name",
}

_HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
_COUNTER = itertools.count()
_OPEN: set[str] = set()


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `target`; on success it becomes `target`.

    A target that already holds the same bytes is left alone, time stamp included, so that
    repeating a finished step makes nothing downstream look out of date. Temporary files that
    killed processes of this machine left in the folder are removed first; those of other
    machines, on a shared disk, may still be in use and stay.

    Parameters
    ----------
    target : Path
        The final file. Its folder is made when missing.

    Yields
    ------
    Path
        Where to write. Removed when the block raises.

    Raises
    ------
    WriteError
        The disk is full or read-only, the folder is not ours, or the name is unusable.
    """
    target = Path(target)
    name = _temporary_name(target)
    temporary = target.parent / name
    _OPEN.add(name)
    try:
        with refusals_told(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            remove_stale(target.parent)
            yield temporary
            _sync(temporary)
            if _same_bytes(temporary, target):
                temporary.unlink()
            else:
                os.replace(temporary, target)
                with contextlib.suppress(OSError):  # some network disks cannot sync a folder
                    _sync(target.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        _OPEN.discard(name)


@contextlib.contextmanager
def refusals_told(target: Path) -> Iterator[None]:
    """Turn what the disk or its owner refuses about `target` into a WriteError with a remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in _REFUSALS and _concerns(error, target):
            raise WriteError(f"{target}: {_REFUSALS[error.errno]}") from error
        raise


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, where they are missing.

    Raises
    ------
    WriteError
        The disk is full or read-only, the place is not ours, or a file is in the way.
    """
    with refusals_told(folder):
        folder.mkdir(parents=True, exist_ok=True)


def write_bytes(target: Path, content: bytes) -> None:
    """Write `content` to `target` atomically."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)


def write_text(target: Path, content: str) -> None:
    """Write `content` to `target` atomically, UTF-8 with unix line ends on every platform."""
    write_bytes(target, content.encode("utf-8"))


def remove_stale(folder: Path) -> None:
    """Remove temporary files that killed processes of this machine left in `folder`."""
    for path in folder.iterdir():
        match = _TEMPORARY.match(path.name)
        if match and match.group(1) == _HOST and _is_stale(path.name, int(match.group(2))):
            with contextlib.suppress(OSError):  # another process may be tidying too
                path.unlink(missing_ok=True)


def _temporary_name(target: Path) -> str:
    stem = target.name.encode("utf-8", "surrogateescape")[:_MAX_STEM_BYTES]
    readable = stem.decode("utf-8", "ignore")
    return f".{readable}.{_HOST}-{os.getpid()}-{next(_COUNTER)}.tmp"


def _is_stale(name: str, pid: int) -> bool:
    """Tell whether no process writes `name`; our own number may be a dead process's, reused."""
    if pid == os.getpid():
        return name not in _OPEN
    return not _is_alive(pid)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _concerns(error: OSError, target: Path) -> bool:
    """Tell whether the failed call was about the target's folder (a full disk always is)."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or error.filename is None:
        return True
    named = Path(os.fsdecode(error.filename))
    return named.parent == target.parent or named in (target.parent, *target.parent.parents)


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
