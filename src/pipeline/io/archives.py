"""Archives in: every member is looked at before the first is written; one bad, all refused."""

import contextlib
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from pipeline.errors import ReadError
from pipeline.io.sources import opened

#: More files than any model has.
MAX_MEMBERS = 10_000

#: Weights shrink by a few per cent; a thousandfold is a bomb.
MAX_RATIO = 1000

#: Largest content, whatever the archive's own size.
MAX_BYTES = 16 * 1024**3

#: Small archives may hold a text file of spaces.
_FREE_BYTES = 1 << 20

_CHUNK = 1 << 20
_KINDS = {b"PK": "zip", b"\x1f\x8b": "tar"}


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    packed: int | None
    is_folder: bool
    #: What else it is: a link, a device, encrypted; empty for a plain file or folder.
    oddity: str


@contextlib.contextmanager
def unpacked(path: Path, root: Path) -> Iterator[Path]:
    """Yield a temporary folder in `root` that holds the files of a zip or tar.gz archive.

    Whoever wants to keep something moves it out; the rest is removed at the end.

    Parameters
    ----------
    path : Path
        Archive; its kind is told from its first bytes.
    root : Path
        Folder, made when missing.

    Raises
    ------
    ReadError
        No archive, damaged, or with a member that is absolute, leaves the folder, is a link or
        a device, comes twice, or expands too far. Nothing has been written then.
    """
    kind = _kind(path)
    members = list(_zip_members(path) if kind == "zip" else _tar_members(path))
    _check(path, members)
    made = not root.exists()
    root.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".import-", suffix=".tmp", dir=root))
    try:
        with _refusing_damage(path):
            (_unzip if kind == "zip" else _untar)(path, folder)
        yield folder
    except BaseException:
        shutil.rmtree(folder)
        if made:
            with contextlib.suppress(OSError):  # not empty: something else has been put there
                root.rmdir()
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _kind(path: Path) -> str:
    with opened(path) as stream:
        head = stream.read(2)
    if head not in _KINDS:
        raise ReadError(f"{path}: neither a zip nor a tar.gz archive; pack the folder as one")
    return _KINDS[head]


@contextlib.contextmanager
def _refusing_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError,
            UnicodeError, ValueError) as error:  # fmt: skip
        raise ReadError(f"{path}: a damaged archive ({error}); copy it again") from error
    except OSError as error:
        if error.errno is None:  # gzip's own complaints have no number
            raise ReadError(f"{path}: a damaged archive ({error}); copy it again") from error
        raise


def _zip_members(path: Path) -> Iterator[_Member]:
    with _refusing_damage(path), zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            mode = stat.S_IFMT(info.external_attr >> 16)
            oddity = "" if mode in (0, stat.S_IFREG, stat.S_IFDIR) else "a link or a device"
            if info.flag_bits & 1:
                oddity = "encrypted"
            # orig_filename: the one given here is cut at a NUL
            yield _Member(
                info.orig_filename, info.file_size, info.compress_size, info.is_dir(), oddity
            )


def _tar_members(path: Path) -> Iterator[_Member]:
    with _refusing_damage(path), _open_tar(path) as archive:
        for count, info in enumerate(archive):
            if count > MAX_MEMBERS:
                break
            plain = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE)
            plain = plain and not info.issparse()
            yield _Member(
                info.name, info.size, None, info.isdir(), "" if plain else "a link or a device"
            )
            # A member is passed over by inflating it: stop before a bomb is.
            _check_size(path, info.size, path.stat().st_size)


def _check(path: Path, members: list[_Member]) -> None:
    if len(members) > MAX_MEMBERS:
        raise ReadError(f"{path}: refused: more than {MAX_MEMBERS:,} members")
    packed = path.stat().st_size
    seen: set[str] = set()
    files = {_key(m.name) for m in members if not m.is_folder}
    for member in members:
        problem = member.oddity or _escape(member.name)
        key = _key(member.name)
        if not problem and not member.is_folder and key in seen:
            problem = "there twice"
        if not problem and any(str(parent) in files for parent in PurePosixPath(key).parents):
            problem = "inside something that is a file"
        if problem:
            raise ReadError(
                f"{path}: refused: member {member.name!r} is {problem}; nothing was unpacked. Get "
                "the archive from its author again"
            )
        seen.add(key)
        if member.packed is not None:
            _check_size(path, member.size, member.packed)
    _check_size(path, sum(member.size for member in members), packed)


def _key(name: str) -> str:
    """Return a name as disks that ignore case would see it."""
    return str(PurePosixPath(name.casefold()))


def _escape(name: str) -> str:
    parts = name.replace("\\", "/").split("/")
    if not name.strip() or "\0" in name or len(name) > 1000:
        return "without a usable name"
    if name.startswith(("/", "\\", "~")) or ":" in parts[0]:
        return "absolute"
    if ".." in parts:
        return "outside of the folder"
    return ""


def _check_size(path: Path, size: int, packed: int) -> None:
    if size > MAX_BYTES:
        raise ReadError(f"{path}: refused: unpacks to more than {MAX_BYTES:,} bytes")
    if size > max(_FREE_BYTES, MAX_RATIO * packed):
        raise ReadError(
            f"{path}: refused: {size:,} bytes out of {packed:,} packed ones, more than "
            f"{MAX_RATIO}:1; no model shrinks that far"
        )


def _unzip(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                with archive.open(info) as source:
                    _store(path, source, folder / info.filename, info.file_size)


def _untar(path: Path, folder: Path) -> None:
    with _open_tar(path) as archive:
        for info in archive:
            source = archive.extractfile(info) if info.isfile() else None
            if source is not None:
                _store(path, source, folder / info.name, info.size)


def _open_tar(path: Path) -> tarfile.TarFile:
    return tarfile.open(path, mode="r|gz", errorlevel=1)


def _store(path: Path, source: IO[bytes], target: Path, size: int) -> None:
    """Write a member whose content must be as long as its header says."""
    target.parent.mkdir(parents=True, exist_ok=True)
    left = size
    with target.open("xb") as sink:
        while piece := source.read(min(_CHUNK, left + 1)):
            left -= len(piece)
            if left < 0:
                break
            sink.write(piece)
    if left:
        raise ReadError(f"{path}: a damaged archive: {target.name} has another length than stated")
