"""Writing an ONNX file weight by weight, and running one.

``onnx.save`` has a network in memory twice more: as message objects and as bytes. Protocol buffers' wire format is simple
enough (https://protobuf.dev/programming-guides/encoding) to write the weights straight into the file; everything else is
built and encoded by the onnx package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.export.packages import require

OPSET = 18
"""The newest operator is ReduceMean with its axes as an input; onnxruntime runs this since 1.14 (2023)."""

IR_VERSION = 8
"""What ONNX 1.13 wrote, which brought opset 18."""

# Field numbers of onnx.proto: ModelProto.graph, ModelProto.metadata_props, GraphProto.initializer, TensorProto.raw_data.
_GRAPH, _METADATA, _INITIALIZER, _RAW_DATA = 7, 14, 5, 9


@dataclass(frozen=True, eq=False)
class Weight:
    """One float32 tensor, computed when it is written and not kept."""

    name: str
    shape: tuple[int, ...]
    make: Callable[[], npt.NDArray[np.float32]]


def write_model(
    path: Path,
    nodes: Sequence[Any],
    constants: Mapping[str, npt.NDArray[Any]],
    weights: Sequence[Weight],
    classes: int,
) -> None:
    """Write a model ``waveform`` (batch, samples) -> ``probabilities`` (batch, classes)."""
    onnx, helper, numpy_helper = require("onnx"), require("onnx.helper"), require("onnx.numpy_helper")
    real = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        list(nodes),
        "pannscope",
        [helper.make_tensor_value_info("waveform", real, ["batch", "samples"])],
        [helper.make_tensor_value_info("probabilities", real, ["batch", classes])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = onnx.ModelProto(ir_version=IR_VERSION, producer_name="pannscope")
    model.opset_import.append(helper.make_opsetid("", OPSET))
    small = graph.SerializeToString(deterministic=True)
    heads = [
        onnx.TensorProto(dims=weight.shape, data_type=real, name=weight.name).SerializeToString()
        for weight in weights
    ]
    sizes = [4 * prod(weight.shape) for weight in weights]
    tensors = [
        len(head) + len(_head(_RAW_DATA, size)) + size for head, size in zip(heads, sizes, strict=True)
    ]
    with path.open("wb") as file:
        file.write(model.SerializeToString(deterministic=True))
        file.write(_head(_GRAPH, len(small) + sum(len(_head(_INITIALIZER, n)) + n for n in tensors)))
        file.write(small)
        for weight, head, size, length in zip(weights, heads, sizes, tensors, strict=True):
            file.write(_head(_INITIALIZER, length) + head + _head(_RAW_DATA, size))
            _write_array(file, weight)


def append_metadata(path: Path, entries: Mapping[str, str]) -> None:
    """Append metadata to a model, whose checked bytes stay: a repeated field may be anywhere in the file."""
    onnx = require("onnx")
    with path.open("ab") as file:
        for key, value in entries.items():
            entry = onnx.StringStringEntryProto(key=key, value=value).SerializeToString()
            file.write(_head(_METADATA, len(entry)) + entry)


def onnx_network(path: Path) -> Callable[[Tensor], Tensor]:
    """The model of a file, run by onnxruntime on as many threads as PyTorch uses here."""
    runtime = require("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors; they are raised as well
    options.add_session_config_entry(
        "session.intra_op.allow_spinning", "0"
    )  # waiting threads would take time from the others
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def network(waveform: Tensor) -> Tensor:
        (probabilities,) = session.run(["probabilities"], {"waveform": waveform.numpy()})
        return torch.from_numpy(probabilities)

    return network


def _head(field: int, length: int) -> bytes:
    """The header of a length-delimited field: its number and wire type 2, and its length."""
    return _varint(field << 3 | 2) + _varint(length)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def _write_array(file: BinaryIO, weight: Weight) -> None:
    values = np.ascontiguousarray(weight.make(), dtype="<f4")
    assert values.shape == weight.shape, weight.name
    file.write(values.data)
