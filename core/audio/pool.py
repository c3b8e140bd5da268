"""The processes that decode recordings from outside: started when needed, one kept, replaced when one dies or takes too long."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections.abc import Callable, Generator, Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from core.audio import facts
from core.audio.facts import Facts, Header, Job
from core.audio.limits import SAMPLE_RATE
from core.audio.messages import CONVERT, audio_error, read_errors
from core.errors import AudioError
from core.sandbox.process import Sandbox, boot

MAX_WORKERS = 5
"""At once; one more caller waits. Four may be held by work that goes on for minutes (``dashboard.server.long_recordings``), and one is left for
what is short. One stays when nobody decodes: 45 MB that take 0.3 s to start."""

WALL_S, WALL_S_PER_SECOND = 30.0, 1.0
"""How long a caller waits for a worker in all, and for each second that it has decoded: the limit on systems without one of processor
time, and on machines so busy that it is not reached."""

TURN_S = 120.0  # that a caller waits while all workers are busy

_BOOT = boot("core.audio.worker")
_SINGLE_THREADED = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Threads that numpy would make, with 40 MB of address space each."""


class DecoderError(AudioError):
    """A worker did not start, was not free, or broke off: the recording's doing, or that of a machine that is short of time or memory."""


class DecoderPool:
    """At most ``MAX_WORKERS`` processes, and the callers that wait for one."""

    def __init__(self) -> None:
        self._idle: list[Sandbox] = []
        self._busy = 0
        self._changed = threading.Condition()

    def warm(self) -> None:
        """Start a worker, if there is none, without waiting for it."""
        with self._changed:
            if not self._idle and not self._busy:
                self._idle.append(Sandbox(_BOOT, _SINGLE_THREADED))

    def close(self) -> None:
        """End the workers that nobody uses; the others end after their recording, or with this process."""
        with self._changed:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.end()

    def idle_pid(self) -> int | None:
        """The process that waits for the next recording, for measurements; None where there is none."""
        with self._changed:
            return self._idle[-1].pid if self._idle else None

    @contextlib.contextmanager
    def worker(self, name: str) -> Iterator[Sandbox]:
        """A worker for one recording; afterwards it is kept, or replaced by a new one for the next caller.

        Raises
        ------
        DecoderError
            The worker died, or took too much time or memory.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._busy < MAX_WORKERS, TURN_S):
                problem = (
                    f"cannot be decoded now: other recordings have kept the decoder busy for {TURN_S:.0f} s"
                )
                raise DecoderError(str(audio_error(name, problem, "Try again.")))
            self._busy += 1
            worker = self._idle.pop() if self._idle else None
        try:
            worker = worker or Sandbox(_BOOT, _SINGLE_THREADED)
            worker.wait_until_ready()
            yield worker
        except (EOFError, OSError, ValueError) as error:
            if worker is None or not worker.ready:
                problem = f"cannot be decoded: the decoder's process does not start ({error})"
                raise DecoderError(
                    str(audio_error(name, problem, "Free some memory and try again."))
                ) from error
            raise _explained(name, worker) from None
        finally:
            with self._changed:
                self._busy -= 1
                kept = worker is not None and worker.usable and not self._idle
                if kept and worker is not None:
                    self._idle.append(worker)
                self._changed.notify()
            if worker is not None and not kept:
                worker.end()


def _explained(name: str, worker: Sandbox) -> DecoderError:
    """Why a worker is gone, in one line."""
    why = worker.why_gone()
    known = {
        "memory": "needs more memory to decode than any recording of its size",
        "time": "takes longer to decode than any recording of its length",
    }
    problem = known.get(why, f"is damaged so that the process that decoded it broke off ({why})")
    return DecoderError(str(audio_error(name, problem, CONVERT)))


class Decoding:
    """One recording on its way through a worker.

    Parameters
    ----------
    on_progress : callable, optional
        Called with the share that is decoded, at every block and every piece that is read: also while a worker only searches. It may
        raise to give up: at a block the worker stays for the next recording, else it ends.

    Attributes
    ----------
    header : Header
        What the file's header says, from the first block on.
    facts : Facts
        What was measured, once all blocks have been read.

    Raises
    ------
    AudioError
        While the blocks are read.
    """

    header: Header
    facts: Facts

    def __init__(
        self, stream: BinaryIO, job: Job, on_progress: Callable[[float], object] | None = None
    ) -> None:
        self._stream, self._job, self._on_progress = stream, job, on_progress
        self._samples = self._pulled = self._at = 0

    def blocks(self) -> Generator[npt.NDArray[np.float32]]:
        """Mono blocks at 32 kHz, (samples,) each, in order. Closing the iterator stops the work."""
        with POOL.worker(self._job.name) as worker, worker.at_most(WALL_S) as clock:
            worker.usable = False
            worker.send(facts.JOB, facts.packed(self._job))
            while True:
                kind, body = worker.receive()
                if kind == facts.READ:
                    self._report()
                    worker.send(facts.ANSWER, self._piece(*facts.SPAN.unpack(body)))
                elif kind == facts.HEADER:
                    self.header = Header.of(body)
                elif kind == facts.BLOCK:
                    block = np.frombuffer(body, np.float32)
                    self._samples += len(block)
                    clock.pause(WALL_S_PER_SECOND * len(block) / SAMPLE_RATE)
                    try:
                        self._report()
                        yield block
                    except BaseException:  # the caller wants no more
                        clock.go_on()
                        worker.send(facts.STOP)
                        worker.usable = worker.receive()[0] == facts.STOPPED
                        raise
                    clock.go_on()
                    worker.send(facts.NEXT)
                elif kind == facts.FACTS:
                    self.facts = facts.facts_of(body)
                    worker.usable = True
                    return
                elif kind == facts.REFUSED:
                    worker.usable = True
                    raise AudioError(body.decode())
                else:
                    worker.out_of_memory = kind == facts.MEMORY
                    raise EOFError

    def _piece(self, offset: int, size: int) -> bytes:
        with read_errors(self._job.name):
            self._stream.seek(offset)
            piece = self._stream.read(size)
        self._pulled += len(piece)
        self._at = offset + len(piece)
        return piece

    @property
    def expected_s(self) -> float:
        """How long the recording is expected to last: as its header declares, or in proportion to the bytes up to the present place."""
        decoded_s = self._samples / SAMPLE_RATE
        return max(decoded_s, self.header.declared_s or decoded_s * self._job.size / self._at)

    @property
    def _share(self) -> float:
        """The share of the declared length that is decoded; where none is declared, the share of the file that has been read."""
        if not hasattr(self, "header"):
            return 0.0
        if self.header.declared_s:
            return min(1.0, self._samples / SAMPLE_RATE / self.header.declared_s)
        return min(1.0, self._pulled / self._job.size)

    def _report(self) -> None:
        if self._on_progress is not None:
            self._on_progress(self._share)


POOL = DecoderPool()
atexit.register(POOL.close)
if hasattr(os, "register_at_fork"):  # a forked process must not talk to its parent's workers
    os.register_at_fork(after_in_child=POOL.__init__)  # type: ignore[misc]
