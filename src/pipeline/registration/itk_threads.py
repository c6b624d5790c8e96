"""ITK on one thread, where the order of a sum would otherwise depend on the threads."""

import contextlib
from collections.abc import Iterator

import SimpleITK as sitk


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run what stands inside on one thread, then restore the process's own number.

    `SetNumberOfThreads` of a registration method does not reach its metric, which adds up what
    its threads found in the order in which they finish: 1e-12 mm of difference between two runs
    on two threads, and other bytes in every file that follows.
    """
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
