"""The process that holds one ONNX file: it checks the graph, then runs it with onnxruntime's CPU provider.

It gets the file and the samples through its pipe, and can open nothing (``core.sandbox``). It holds numpy, onnx and onnxruntime, and nothing
of torch.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
from collections.abc import Callable
from typing import Any, BinaryIO, NoReturn

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper

from core.errors import one_line
from core.onnx_tagger import messages
from core.onnx_tagger.graph import GraphError, Outline, interface, macs, outline, parameters, parse
from core.onnx_tagger.messages import Facts, Job
from core.sandbox.limits import Limits, pipes
from core.sandbox.messages import receive, send

_MOST_VALUES = 1 << 22  # of an output: an hour of frames of 527 classes


class Model:
    """A loaded graph."""

    def __init__(self, data: bytes, threads: int) -> None:
        self._threads = threads
        parsed = parse(data)
        self._interface = read = interface(parsed)
        self._outline: Outline = outline(parsed, read.output)
        self.facts = Facts(
            samples=read.samples,
            output=read.output,
            outputs=read.outputs,
            parameters=parameters(parsed),
            metadata={entry.key: entry.value for entry in parsed.metadata_props},
        )
        del parsed  # as large as the file, which onnxruntime parses once more
        self._session = _session(data, threads)

    def run(self, samples: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """The output for a waveform (samples,), averaged over its frames where it has some, (classes,), and the embedding, (units,), if it has one."""
        read = self._interface
        names = [read.output] if read.embedding is None else [read.output, read.embedding]
        try:
            outputs = self._session.run(names, self._feed(samples))
        except Exception as error:
            raise _refused(f"cannot run on {len(samples):,} samples", error) from error
        for output in outputs:
            if output.ndim == 0 or not 0 < output.size <= _MOST_VALUES:
                raise GraphError(
                    f"outputs an array of shape {output.shape}; a tagger outputs (batch, classes), or (frames, classes)"
                )
        return [
            np.asarray(output.reshape(-1, output.shape[-1]).mean(axis=0, dtype=np.float64), np.float32)
            for output in outputs
        ]

    def count(self, samples: int) -> int | str:
        """Multiply-accumulate operations of a pass over so many samples, or why they are not counted."""
        outlined = self._outline
        if outlined.refusal:
            return outlined.refusal
        try:
            session = _session(outlined.model.SerializeToString(), self._threads, as_is=True)
            feed = self._feed(np.zeros(samples, np.float32)) | {
                name: np.zeros(shape, helper.tensor_dtype_to_np_dtype(kind))
                for name, (shape, kind) in outlined.zeros.items()
            }
            names = [each.name for each in session.get_outputs()]
            try:
                shapes = session.run(names, feed)
            except Exception as error:
                raise _refused("the sizes of its layers cannot be found", error) from error
            return macs(outlined, dict(zip(names, shapes, strict=True)))
        except MemoryError:
            return "the pass that counts them takes too much memory"
        except GraphError as error:
            return str(error)

    def _feed(self, samples: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
        read = self._interface
        waveform = samples.astype(helper.tensor_dtype_to_np_dtype(read.kind), copy=False)
        return {read.given: waveform if read.axes == 1 else waveform[None]}


def _session(data: bytes, threads: int, *, as_is: bool = False) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False  # it would keep a long clip's buffers
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if as_is:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise _refused("is refused by onnxruntime", error) from error


def _refused(problem: str, error: Exception) -> Exception:
    """What onnxruntime raises, in short; raises ``MemoryError`` where that is what it means."""
    text = str(error)
    if isinstance(error, MemoryError) or "alloc" in text.lower():
        raise MemoryError from error
    return GraphError(f"{problem} ({one_line(text.rpartition(' : ')[2])})")


def serve(source: BinaryIO, sink: BinaryIO) -> NoReturn:
    """Load one file and run it until the other side ends, or it takes too much."""
    _rehearse()
    trim = _trimmer()
    limits = Limits()
    send(sink, messages.READY)
    model: Model | None = None
    while True:
        try:
            kind, body = receive(source)
            if kind == messages.MODEL:
                job = messages.job_of(body)
                limits.bound(job.memory)
                limits.start_clock(job.cpu_s)
                model = Model(_file(source, job), job.threads)
                trim()
                send(sink, messages.FACTS, messages.packed(model.facts))
                continue
            assert model is not None
            cpu_s, samples = messages.GRANT.unpack_from(body)
            limits.start_clock(cpu_s)
            if kind == messages.RUN:
                waveform = np.frombuffer(body, np.float32, samples, messages.GRANT.size)
                outputs = model.run(waveform)
                send(
                    sink,
                    messages.RESULT,
                    len(outputs[0]).to_bytes(messages.TAGS_BYTES, "little")
                    + np.concatenate(outputs).tobytes(),
                )
            else:
                send(sink, messages.COUNTED, json.dumps(model.count(samples)).encode())
                trim()
            limits.check_memory()
        except GraphError as error:
            send(sink, messages.REFUSED, str(error).encode())
        except MemoryError:
            send(sink, messages.MEMORY)
            os._exit(0)
        except (EOFError, OSError):  # the program that uses this process has ended
            os._exit(0)
        except Exception as error:
            send(sink, messages.REFUSED, f"cannot be read ({type(error).__name__})".encode())


def _file(source: BinaryIO, job: Job) -> bytes:
    data = bytearray()
    while len(data) < job.size:
        data += receive(source)[1]
    return bytes(data)


def _trimmer() -> Callable[[], object]:
    """What returns freed memory to the system, where its C library has that: 300 MB after a large file."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return lambda: None
    return lambda: trim(0)


def _rehearse() -> None:
    """Run a small graph, so that everything is imported and opened before no file can be opened any more."""
    shape = [None, None]
    graph = helper.make_graph(
        [helper.make_node("Sigmoid", ["x"], ["y"])],
        "rehearsal",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    model = Model(made.SerializeToString(), threads=2)
    model.run(np.zeros(16, np.float32))
    model.count(16)
    with contextlib.suppress(GraphError):
        parse(b"no graph")
    onnx.defs.has("Conv")


def main() -> NoReturn:
    """Serve on the pipes that the process was started with."""
    serve(*pipes())
