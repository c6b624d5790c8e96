"""What a file may claim: size caps and their messages, checked before any allocation."""

from pathlib import Path

from pipeline.errors import ReadError

#: Largest image that is read unless the caller says otherwise: 8 GiB of voxels.
DEFAULT_MAX_BYTES = 8 * 1024**3

#: Largest text or binary header, extensions included.
MAX_HEADER_BYTES = 16 * 1024**2

#: Zero bytes allowed after the last voxel (block padding of old writers).
MAX_PADDING_BYTES = 512


def check_declared(path: Path, declared: int, capacity: int, max_bytes: int) -> None:
    """Refuse a header whose voxels exceed the cap, or what the file can possibly hold.

    Parameters
    ----------
    path : Path
        The file, for the message.
    declared : int
        Bytes of voxels that the header announces.
    capacity : int
        Most bytes that the rest of the file can yield.
    max_bytes : int
        The cap.

    Raises
    ------
    ReadError
        Names both sizes and the remedy.
    """
    if declared > max_bytes:
        raise ReadError(
            f"{path}: the header declares {declared:,} bytes of voxels, more than the limit of "
            f"{max_bytes:,}; if the image really is that large, raise max_bytes, else the header "
            "is damaged: convert the image again"
        )
    if declared > capacity:
        raise ReadError(
            f"{path}: the header declares {declared:,} bytes of voxels but the file holds at most "
            f"{capacity:,}: it is truncated or its header is damaged; copy or convert it again"
        )
