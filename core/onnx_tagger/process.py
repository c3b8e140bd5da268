"""The sandbox that one ONNX file runs in, from this side: what it may take, and what its end means."""

from __future__ import annotations

import json
import threading
import weakref
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.errors import CheckpointError, one_line
from core.onnx_tagger import messages
from core.onnx_tagger.messages import Facts, Job, facts_of, packed
from core.runtime.machine import usable_memory
from core.sandbox.process import Sandbox, boot

MEMORY_BYTES, MEMORY_PER_BYTE = 1 << 30, 4
"""A file may take 1 GiB, and four times its own size: its bytes, the parsed graph, the weights and their rearranged copy."""

_LEAST_MEMORY = 256 << 20
_SHARE = 0.75  # of the memory that is free, where that is less

LOAD_S, LOAD_S_PER_BYTE = 20.0, 1e-7
"""Processor time for loading; 320 MB take 3 s."""

RUN_S, RUN_S_PER_SECOND = 10.0, 4.0
"""Processor time for a window, and for each second of it: four seconds on one core for one of audio are no tagger to compare with."""

COUNT_S = 60.0

_WALL = 4.0
"""A caller waits this many times the processor time: the limit on systems without one, and on busy machines."""

_PIECE = 16 << 20

_BOOT = boot("core.onnx_tagger.worker")
_ENVIRONMENT = {
    # numpy's threads, with 40 MB of address space each; onnxruntime makes its own
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
}


class OnnxProcess:
    """One file's graph in a process of its own; safe to share between threads. The process ends with this object.

    Once it has broken off, which is the file's doing, every call raises the same error.

    Raises
    ------
    CheckpointError
        The file is refused, or took too much. One line, as those of all methods.
    """

    def __init__(self, path: Path, threads: int) -> None:
        self._title = str(path)
        self._lock = threading.Lock()
        self._gone = ""
        self._sandbox = Sandbox(_BOOT, _ENVIRONMENT)
        weakref.finalize(self, self._sandbox.end)
        try:
            self._sandbox.wait_until_ready()
        except (EOFError, OSError, ValueError) as error:
            raise CheckpointError(
                f"{path} cannot be run: its process does not start ({error}). Free some memory and try again; onnx and onnxruntime have to "
                "be installed."
            ) from error
        try:
            self.facts = self._loaded(path, threads)
        except CheckpointError:
            self._sandbox.end()
            raise
        self._title = path.name  # of an uploaded file the folder is no more

    @property
    def gone(self) -> bool:
        """Whether the process has broken off."""
        return bool(self._gone)

    def run(
        self, samples: npt.NDArray[np.float32], seconds: float
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """What the graph outputs for a waveform (samples,) of ``seconds``, averaged over its frames: (classes,) and the embedding (units,), finite.

        Of a graph without one the embedding has no units.
        """
        cpu_s = RUN_S + RUN_S_PER_SECOND * seconds
        body = messages.GRANT.pack(cpu_s, len(samples)) + np.ascontiguousarray(samples, np.float32).tobytes()
        answer = self._exchange([(messages.RUN, body)], messages.RESULT, cpu_s)
        head, content = answer[: messages.TAGS_BYTES], answer[messages.TAGS_BYTES :]
        values = np.frombuffer(content[: len(content) // 4 * 4], np.float32)
        classes = int.from_bytes(head, "little")
        finite(values, self._title, len(samples))
        return values[:classes], values[classes:]

    def count(self, samples: int) -> int | str:
        """Multiply-accumulate operations for so many samples, or in a few words why they are not counted."""
        body = messages.GRANT.pack(COUNT_S, samples)
        counted = json.loads(self._exchange([(messages.COUNT, body)], messages.COUNTED, COUNT_S))
        return counted if type(counted) is int and counted >= 0 else one_line(counted)

    def _loaded(self, path: Path, threads: int) -> Facts:
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                room = usable_memory()
                memory = MEMORY_BYTES + MEMORY_PER_BYTE * size
                if room is not None:
                    memory = min(memory, max(_LEAST_MEMORY, int(_SHARE * room)))
                job = Job(size=size, memory=memory, cpu_s=LOAD_S + LOAD_S_PER_BYTE * size, threads=threads)
                pieces = ((messages.PIECE, piece) for piece in iter(lambda: file.read(_PIECE), b""))
                parts = chain([(messages.MODEL, packed(job))], pieces)
                return facts_of(self._exchange(parts, messages.FACTS, job.cpu_s))
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path} has metadata that cannot be read ({one_line(error)}).") from error
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error

    def _exchange(self, parts: Iterable[tuple[bytes, bytes]], wanted: bytes, cpu_s: float) -> bytes:
        """Send messages and wait for the answer, of the kind that is wanted."""
        with self._lock:
            if not self._sandbox.usable:
                raise CheckpointError(
                    self._gone or f"{self._title} was interrupted while it ran; load it again."
                )
            self._sandbox.usable = False
            try:
                with self._sandbox.at_most(_WALL * cpu_s):
                    for kind, body in parts:
                        self._sandbox.send(kind, body)
                    kind, answer = self._sandbox.receive()
                self._sandbox.out_of_memory = kind == messages.MEMORY
                if kind not in (wanted, messages.REFUSED):
                    raise EOFError
            except (EOFError, OSError):
                self._gone = self._explained(cpu_s)
                raise CheckpointError(self._gone) from None
            self._sandbox.usable = True
        if kind == messages.REFUSED:
            raise CheckpointError(f"{self._title} {one_line(answer.decode(errors='replace'))}.")
        return answer

    def _explained(self, cpu_s: float) -> str:
        """Why the process is gone, in one line."""
        why = self._sandbox.why_gone()
        known = {
            "memory": "takes more memory than a tagger of its size may",
            "time": f"takes more than the {cpu_s:.0f} s of processor time that a tagger may",
        }
        return f"{self._title} {known.get(why, f'made onnxruntime break off ({why})')}; it was stopped. Give another model."


def finite(output: npt.NDArray[np.float32], title: str, samples: int) -> npt.NDArray[np.float32]:
    """The output of the file ``title``; raises ``CheckpointError`` for values that are NaN or infinite, or none."""
    if not len(output) or not np.isfinite(output).all():
        raise CheckpointError(
            f"{title} outputs NaN or infinite values for {samples:,} samples; check the model, and the rate it is run at."
        )
    return output
