"""Which errors mean that memory ran out: numpy, torch and the system each say it in other words."""

import errno

#: Parts of messages: torch on the CPU and on CUDA, C++, the loader of libraries, and oneDNN, which
#: has no words of its own for it.
_WORDS = (
    "can't allocate memory", "cannot allocate memory", "not enough memory", "out of memory",
    "bad_alloc", "failed to map segment", "unable to allocate", "could not create a primitive",
)  # fmt: skip


def is_shortage(error: BaseException) -> bool:
    """Tell whether an error is a lack of memory, of the CPU's or of a GPU's."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    if not isinstance(error, RuntimeError | ImportError | OSError):
        return False
    text = str(error).lower()
    return any(words in text for words in _WORDS)
