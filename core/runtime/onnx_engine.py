"""onnxruntime: the engine of networks that our kernels do not run, from the network's own ONNX graph; float32 throughout.

Its front end is the network's, by FFT. It is faster than torch on every architecture that was measured (docs/performance.md).
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor

from core.models.network import Network
from core.runtime.engine import EngineError
from core.runtime.machine import usable_memory
from core.runtime.onnx_graph import EMBEDDING, PROBABILITIES, body_graph, front_end_outputs

_BUILDING = 4.0
"""Of the weights' size: memory that onnxruntime needs for a moment while it folds batch norm into them and rearranges them (3.7 was the
most measured, with ResNet38); afterwards it keeps them once."""


class OnnxEngine:
    """Runs a network's body in onnxruntime behind the network's own front end. It keeps a rearranged copy of the weights.

    Raises ``EngineError`` where a package is missing, memory does not suffice, or the network has no graph.
    """

    def __init__(self, network: Network, threads: int) -> None:
        try:
            runtime: Any = importlib.import_module("onnxruntime")
            graph = body_graph(network)
        except ImportError as error:
            raise EngineError(
                f"A package cannot be imported ({error}); pip install onnx onnxruntime"
            ) from error
        self.name, self.why = "onnxruntime", ""
        self.nbytes = sum(tensor.nbytes for tensor in graph.weights.values())
        needed, free = round(_BUILDING * self.nbytes), usable_memory()
        if free is not None and free < needed:
            raise EngineError(
                f"onnxruntime needs {needed / 2**20:.0f} MB of memory to prepare this network, and {free / 2**20:.0f} MB are free."
            )
        self._network, self._inputs = network, graph.inputs
        for name, tensor in graph.weights.items():
            # External: its values are in the options, not copied into the model.
            initializer = graph.model.graph.initializer.add(
                name=name, dims=tensor.shape, data_type=1, data_location=1
            )
            initializer.external_data.add(key="location", value="weights")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        options.enable_cpu_mem_arena = False  # it would keep a long clip's buffers
        # Waiting threads sleep, as torch's do (see ``process``).
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        values = [
            runtime.OrtValue.ortvalue_from_numpy(tensor.cpu().numpy()) for tensor in graph.weights.values()
        ]
        options.add_external_initializers(list(graph.weights), values)
        try:
            self._session = runtime.InferenceSession(
                graph.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own exceptions have no common class but this
            raise EngineError(f"onnxruntime refuses the network's graph ({error}).") from error

    def probabilities(self, waveforms: Tensor) -> Tensor:
        return self._run(waveforms, PROBABILITIES)[0]

    def outputs(self, waveforms: Tensor) -> tuple[Tensor, Tensor]:
        probabilities, embeddings = self._run(waveforms, PROBABILITIES, EMBEDDING)
        return probabilities, embeddings

    def _run(self, waveforms: Tensor, *names: str) -> list[Tensor]:
        inputs = (given.contiguous().numpy() for given in front_end_outputs(self._network, waveforms))
        feed = dict(zip(self._inputs, inputs, strict=True))
        return [torch.from_numpy(output) for output in self._session.run(list(names), feed)]
