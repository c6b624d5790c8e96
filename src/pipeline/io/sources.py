"""Byte streams that give exactly what was asked for, or say what is wrong with the file."""

import contextlib
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from pipeline.errors import ReadError
from pipeline.io.limits import MAX_PADDING_BYTES

#: Deflate cannot expand by more than this (258 bytes from two bits; zlib's documentation).
_DEFLATE_RATIO = 1032

_COMPRESSED_CHUNK = 1 << 18
_INFLATED_CHUNK = 1 << 22
_WINDOW_BITS = {"gzip": 31, "zlib": 15}
_GZIP_MAGIC = b"\x1f\x8b"


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file for reading; what the disk refuses becomes a ReadError."""
    try:
        if path.exists() and not path.is_file():
            raise ReadError(f"{path}: not a regular file; give an image file or a DICOM folder")
        with path.open("rb") as stream:
            yield stream
    except FileNotFoundError as error:
        raise ReadError(
            f"{path}: no such file; check the path and that the disk is mounted"
        ) from error
    except OSError as error:
        raise ReadError(
            f"{path}: cannot be read ({error.strerror}); check the path and its permissions"
        ) from error


class Source(ABC):
    """Bytes of `path` from where `stream` stands.

    Parameters
    ----------
    stream : binary stream
        Stands on the first byte wanted.
    path : Path
        For messages.
    """

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self.stream = stream
        self.path = path
        self._left = path.stat().st_size - stream.tell()

    @property
    @abstractmethod
    def capacity(self) -> int:
        """Most bytes that can still come; known without reading them."""

    @abstractmethod
    def _some(self, count: int) -> bytes:
        """Return the next 1 to `count` bytes, or nothing at the verified end."""

    def take(self, count: int) -> bytes:
        """Return exactly `count` bytes."""
        buffer = bytearray(count)
        self.fill(memoryview(buffer))
        return bytes(buffer)

    def fill(self, buffer: memoryview) -> None:
        """Fill `buffer`; ReadError when the file ends before."""
        done = 0
        while done < len(buffer):
            piece = self._some(min(len(buffer) - done, _INFLATED_CHUNK))
            if not piece:
                raise ReadError(
                    f"{self.path}: truncated: {done:,} of {len(buffer):,} bytes are there; "
                    "copy or convert the file again"
                )
            buffer[done : done + len(piece)] = piece
            done += len(piece)

    def finish(self) -> None:
        """Check that nothing follows but a little padding, and that check sums hold."""
        surplus = 0
        while piece := self._some(MAX_PADDING_BYTES + 1):
            surplus += len(piece)
            if surplus > MAX_PADDING_BYTES or any(piece):
                raise ReadError(
                    f"{self.path}: more bytes follow the voxels than the header declares: header "
                    "and data do not belong together; convert the image again"
                )


class PlainSource(Source):
    """Bytes of an uncompressed file."""

    @property
    def capacity(self) -> int:
        """Bytes left in the file."""
        return self._left

    def _some(self, count: int) -> bytes:
        piece = self.stream.read(count)
        self._left -= len(piece)
        return piece


class InflateSource(Source):
    """Bytes of a gzip file (all members, CRC-32 and length checked) or of one zlib stream.

    The stream is decoded piece by piece: a bomb costs no memory, it only runs past the
    declared size and is refused there.
    """

    def __init__(
        self, stream: BinaryIO, path: Path, container: Literal["gzip", "zlib"] = "gzip"
    ) -> None:
        super().__init__(stream, path)
        self._container = container
        self._engine = zlib.decompressobj(_WINDOW_BITS[container])

    @property
    def capacity(self) -> int:
        """Upper bound from deflate's largest ratio."""
        return (self._left + len(self._engine.unconsumed_tail)) * _DEFLATE_RATIO

    def _some(self, count: int) -> bytes:
        while True:
            if self._engine.eof and not self._next_member():
                return b""
            raw = self._engine.unconsumed_tail or self._compressed()
            try:
                piece = self._engine.decompress(raw, count)
            except zlib.error as error:
                raise ReadError(
                    f"{self.path}: corrupt {self._container} data ({error}); copy or convert the "
                    "file again"
                ) from error
            if piece:
                return piece
            if not raw and not self._engine.eof:
                raise ReadError(
                    f"{self.path}: truncated: the {self._container} stream has no end; copy or "
                    "convert the file again"
                )

    def _compressed(self) -> bytes:
        raw = self.stream.read(_COMPRESSED_CHUNK)
        self._left -= len(raw)
        return raw

    def _next_member(self) -> bool:
        """Start the next gzip member; False at the end of the file."""
        rest = self._engine.unused_data
        while not rest.strip(b"\0"):
            rest = self._compressed()
            if not rest:
                return False
        rest = rest.lstrip(b"\0")
        if self._container != "gzip" or not rest.startswith(_GZIP_MAGIC[: len(rest)]):
            raise ReadError(
                f"{self.path}: {len(rest) + self._left:,} foreign bytes follow the compressed "
                "data; copy or convert the file again"
            )
        self._engine = zlib.decompressobj(_WINDOW_BITS["gzip"])
        self._feed_back(rest)
        return True

    def _feed_back(self, rest: bytes) -> None:
        self.stream.seek(-len(rest), 1)
        self._left += len(rest)


def open_source(stream: BinaryIO, path: Path) -> Source:
    """Return a gzip or plain source, by the first two bytes and not by the name."""
    start = stream.tell()
    is_gzip = stream.read(2) == _GZIP_MAGIC
    stream.seek(start)
    return InflateSource(stream, path) if is_gzip else PlainSource(stream, path)
