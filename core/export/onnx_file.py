"""Writing a network's ONNX file weight by weight, and running one.

``onnx.save`` has a network in memory twice more: as message objects and as bytes. Protocol buffers' wire format is simple
enough (https://protobuf.dev/programming-guides/encoding) to write the weights straight into the file; everything else is
encoded by the onnx package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.errors import ExportError
from core.export.eight_bits import eight_bit_weights
from core.export.packages import require
from core.models.network import Network
from core.runtime.onnx_graph import EMBEDDING, PROBABILITIES, OnnxGraph, whole_graph

# Field numbers of onnx.proto: ModelProto.graph, ModelProto.metadata_props, GraphProto.initializer, TensorProto.raw_data.
_GRAPH, _METADATA, _INITIALIZER, _RAW_DATA = 7, 14, 5, 9


def write_onnx(network: Network, path: Path, eight_bits: Path | None = None) -> None:
    """Write ``network`` to ``path``, see ``core.runtime.onnx_graph.whole_graph``; raises ``ExportError`` where it has no graph.

    It is also written to ``eight_bits``, with int8 weights, see ``core.export.eight_bits``.
    """
    exported = _traced(network)
    _write(
        exported.model, {name: tensor.cpu().numpy() for name, tensor in exported.weights.items()}, [], path
    )
    if eight_bits is not None:
        _write(exported.model, *eight_bit_weights(network, exported.weights), eight_bits)


def write_eight_bits(network: Network, path: Path) -> None:
    """Write ``network`` with int8 weights alone."""
    exported = _traced(network)
    _write(exported.model, *eight_bit_weights(network, exported.weights), path)


def _traced(network: Network) -> OnnxGraph:
    require("onnx")
    try:
        return whole_graph(network)
    except (
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:  # of PyTorch's exporter, for an operation unknown to ONNX
        raise ExportError(
            f"PyTorch cannot express {network.architecture} in ONNX ({str(error).splitlines()[0]}); safetensors works."
        ) from error


def _write(model: Any, arrays: Mapping[str, npt.NDArray[Any]], nodes: Sequence[Any], path: Path) -> None:
    """Write a graph whose initializers are ``arrays``, with ``nodes`` before its own."""
    onnx = require("onnx")
    graph = onnx.GraphProto()
    graph.CopyFrom(model.graph)
    del graph.node[:]
    graph.node.extend([*nodes, *model.graph.node])
    shell = onnx.ModelProto()
    shell.CopyFrom(model)
    shell.ClearField("graph")
    shell.ClearField("producer_version")
    shell.MergeFrom(onnx.ModelProto(producer_name="pannscope"))
    heads = [
        onnx.TensorProto(
            dims=array.shape, data_type=onnx.helper.np_dtype_to_tensor_dtype(array.dtype), name=name
        ).SerializeToString()
        for name, array in arrays.items()
    ]
    lengths = [
        len(head) + len(_head(_RAW_DATA, array.nbytes)) + array.nbytes
        for head, array in zip(heads, arrays.values(), strict=True)
    ]
    small = graph.SerializeToString(deterministic=True)
    with path.open("wb") as file:
        file.write(shell.SerializeToString(deterministic=True))
        file.write(_head(_GRAPH, len(small) + sum(len(_head(_INITIALIZER, n)) + n for n in lengths)))
        file.write(small)
        for head, length, array in zip(heads, lengths, arrays.values(), strict=True):
            file.write(_head(_INITIALIZER, length) + head + _head(_RAW_DATA, array.nbytes))
            file.write(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).data)


def append_metadata(path: Path, entries: Mapping[str, str]) -> None:
    """Append metadata to a model, whose checked bytes stay: a repeated field may be anywhere in the file."""
    onnx = require("onnx")
    with path.open("ab") as file:
        for key, value in entries.items():
            entry = onnx.StringStringEntryProto(key=key, value=value).SerializeToString()
            file.write(_head(_METADATA, len(entry)) + entry)


def onnx_outputs(path: Path) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The model of a file, run by onnxruntime on as many threads as PyTorch uses here: probabilities and embeddings of waveforms."""
    runtime = require("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors; they are raised as well
    options.add_session_config_entry(
        "session.intra_op.allow_spinning", "0"
    )  # waiting threads would take time from the others
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def outputs(waveform: Tensor) -> tuple[Tensor, Tensor]:
        probabilities, embedding = session.run([PROBABILITIES, EMBEDDING], {"waveform": waveform.numpy()})
        return torch.from_numpy(probabilities), torch.from_numpy(embedding)

    return outputs


def onnx_network(path: Path) -> Callable[[Tensor], Tensor]:
    """The probabilities alone."""
    outputs = onnx_outputs(path)
    return lambda waveform: outputs(waveform)[0]


def _head(field: int, length: int) -> bytes:
    """The header of a length-delimited field: its number and wire type 2, and its length."""
    return _varint(field << 3 | 2) + _varint(length)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
