"""Out of memory in plain words: what needed it, and the flag that asks for less."""

import contextlib
from collections.abc import Iterator

from pipeline.errors import MedpipeError


class MemoryShortageError(MedpipeError):
    """The machine or the GPU has less memory than the work needs."""


@contextlib.contextmanager
def memory_told(what: str, remedy: str) -> Iterator[None]:
    """Turn a lack of memory, in whatever words a library says it, into one line with a remedy.

    As a decorator, for the whole of a verb.

    Parameters
    ----------
    what : str
        The work, for the message.
    remedy : str
        Which flag asks for less.

    Raises
    ------
    MemoryShortageError
        In place of the library's error; any other passes.
    """
    from pipeline.segment.shortage import is_shortage

    try:
        yield
    except (MemoryError, RuntimeError, OSError, ImportError) as error:
        if not is_shortage(error):
            raise
        raise MemoryShortageError(f"{what}: out of memory; {remedy}") from error
