"""Worker processes on one machine: one replaced when it dies, and none left when the main process is gone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from core.batch.run import Runner
from core.batch.work import Job, Part, Result, load_networks, process_part
from core.errors import DataError, PannscopeError

MOST_DEATHS = 2
"""How often a worker may die at one clip, until the clip is a failure."""


@dataclass
class _Worker:
    """A process, our end of its pipe, the part that it has, and the position in it; None until the networks are loaded."""

    process: BaseProcess
    pipe: Connection
    part: Part | None = None
    position: int | None = None


def worker_processes(count: int) -> Runner:
    """The ``Runner`` with so many processes."""
    return partial(_run, count)


def _run(count: int, job: Job, parts: Iterable[Part], on_clip: Callable[[int], object]) -> Iterator[Result]:
    waiting = iter(parts)
    again: list[Part] = []
    deaths: Counter[str] = Counter()
    workers: dict[Connection, _Worker] = {}

    def give(worker: _Worker) -> None:
        """The next part; where there is none, the worker ends."""
        worker.part, worker.position = again.pop() if again else next(waiting, None), None
        with suppress(OSError):  # of a worker that died meanwhile: its pipe ends, and its part is done again
            worker.pipe.send(worker.part)
        if worker.part is None:
            del workers[worker.pipe]
            worker.process.join()
            worker.pipe.close()

    def start() -> None:
        worker = _Worker(*spawn(_serve, job))
        workers[worker.pipe] = worker
        give(worker)

    try:
        for _ in range(count):
            start()
        while workers:
            for pipe in wait(list(workers)):
                worker = workers[pipe]  # type: ignore[index]  # a connection of ours
                try:
                    message = worker.pipe.recv()
                except (EOFError, OSError):
                    del workers[worker.pipe]
                    again.append(_after_death(worker, deaths))
                    on_clip(-(worker.position or 0))  # these are done again
                    start()
                    continue
                if isinstance(message, int):
                    worker.position = message
                    on_clip(1 if message else 0)
                elif isinstance(message, Result):
                    yield message
                    give(worker)
                else:
                    raise DataError(str(message))
    finally:
        for worker in workers.values():
            worker.process.kill()
            worker.process.join()


def spawn(target: Callable[..., object], *arguments: object) -> tuple[BaseProcess, Connection]:
    """Start a process that runs ``target(pipe, *arguments)`` and ends with this one; the process, and the other end of its pipe."""
    context = multiprocessing.get_context(
        "spawn"
    )  # a forked process would share torch's threads and the decoder's pipes
    ours, theirs = context.Pipe()
    process = context.Process(target=_begin, args=(target, theirs, *arguments), daemon=False)
    process.start()
    theirs.close()
    return process, ours


def _begin(target: Callable[..., object], pipe: Connection, *arguments: object) -> None:
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches all processes of a terminal; the main one ends them
    threading.Thread(target=_end_with_parent, daemon=True).start()
    target(pipe, *arguments)


def how_it_ended(process: BaseProcess) -> str:
    """The signal or the exit status of a process whose pipe has ended, as a part of a message."""
    process.join()
    code = process.exitcode or 0
    return f"by signal {-code}" if code < 0 else f"with code {code}"


def _after_death(worker: _Worker, deaths: Counter[str]) -> Part:
    """The part of a worker that has died, to be done again; without the clip at which that has happened before."""
    ended, part = how_it_ended(worker.process), worker.part
    if part is None:
        raise DataError(f"A worker ended {ended} when there was nothing left to do.")
    name = "" if worker.position is None else part.clips[min(worker.position, len(part.clips) - 1)][0]
    deaths[name] += 1
    if deaths[name] < MOST_DEATHS:
        return part
    if worker.position is None:
        raise DataError(
            f"Workers ended {ended} before they had loaded the networks; use fewer --workers where memory is short."
        )
    if worker.position >= len(part.clips):
        raise DataError(f"Workers ended {ended} while they wrote the part with {name}.")
    return part.without(worker.position, f"The process that ran it ended {ended}, {MOST_DEATHS} times.")


def _serve(pipe: Connection, job: Job) -> None:
    """A worker: a part after the other from the pipe, until there is none."""
    try:
        taggers = load_networks(job)
        while (part := pipe.recv()) is not None:
            pipe.send(process_part(job, taggers, part, pipe.send))
    except PannscopeError as error:
        pipe.send(str(error))
    except (EOFError, BrokenPipeError):
        pass


def _end_with_parent() -> None:
    """End this process when the one that started it is gone, however that happened: nobody else would."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
