"""Jobs over processes of one thread each, of which any may die without taking the others along."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


class Killed:
    """Stands for the result of a job whose process ended without one."""


def start_early(modules: Sequence[str]) -> None:
    """Start the process that the workers are forked from, with these modules loaded in it.

    It runs beside the caller's own imports. It has one thread, so forking from it is safe.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(modules))
    forkserver.ensure_running()


def core_count(wanted: int) -> int:
    """Return the cores to use: those wanted, or for 0 all that this process may use."""
    return wanted or len(os.sched_getaffinity(0))


def run_jobs(
    jobs: Sequence[Job], work: Callable[[Job], Result], *, cores: int
) -> Iterator[tuple[int, Result | Killed]]:
    """Yield (place of the job, its result) as they finish.

    When a process is killed (mostly: no memory left), the jobs that ran at that moment are run
    again one at a time; the one whose process then is killed alone gets `Killed`.

    Parameters
    ----------
    jobs : sequence
        Can be pickled.
    work : callable
        A function of a module; its exceptions reach the caller.
    cores : int
        Processes at a time.
    """
    waiting = list(range(len(jobs)))[::-1]
    while waiting:
        suspects = yield from _until_broken(jobs, work, waiting, cores)
        for place in suspects:
            broken = yield from _until_broken(jobs, work, [place], 1)
            if broken:
                yield place, Killed()


def _until_broken(
    jobs: Sequence[Job], work: Callable[[Job], Result], waiting: list[int], cores: int
) -> Generator[tuple[int, Result], None, list[int]]:
    """Run the waiting jobs; return those that ran when a process was killed."""
    running: dict[Future[Result], int] = {}
    context = multiprocessing.get_context("forkserver")
    pool = ProcessPoolExecutor(
        min(cores, len(waiting)), context, initializer=_follow, initargs=(os.getpid(),)
    )
    try:
        while waiting or running:
            while waiting and len(running) < cores:
                running[pool.submit(work, jobs[waiting[-1]])] = waiting[-1]
                waiting.pop()
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=running.__getitem__):
                result = future.result()
                place = running.pop(future)
                yield place, result
    except BrokenProcessPool:
        finished = [f for f in running if f.done() and f.exception() is None]
        for future in finished:
            yield running.pop(future), future.result()
        return sorted(running.values())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return []


def _follow(starter: int) -> None:
    """End this process when the one that started it is gone: it would wait for work for ever."""

    def watch() -> None:
        while _alive(starter):
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
