"""An ONNX graph from outside: what is refused before it is run, and what is counted of it. Only the sandbox calls this."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import onnx
from onnx import TensorProto, defs, helper, inliner

from core.errors import one_line
from core.onnx_tagger.metadata import EMBEDDINGS, OUTPUTS

_OWN_DOMAINS = ("ai.onnx.ml", "com.microsoft")
"""Of onnxruntime's operators, besides ONNX's own; it says itself which of them it has."""

_NAMED = 3  # operators that a message names

_FLOATS = frozenset(
    getattr(TensorProto, name)
    for name in TensorProto.DataType.keys()  # noqa: SIM118 (an enumeration of protocol buffers, no dict)
    if name.startswith(("FLOAT", "DOUBLE", "BFLOAT"))
)
_WEIGHTS = _FLOATS | {TensorProto.INT8, TensorProto.UINT8, TensorProto.INT4, TensorProto.UINT4}
"""Types of weights; whole numbers of 16 bits and more are shapes and indices."""

RUN_TYPES = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
"""Types of waveforms and outputs."""

_SMALL = 1024  # elements: tensors of up to so many are copied for the counting pass, since shapes may follow from their values

_INPUTS: dict[str, tuple[int, ...]] = {
    "Conv": (0, 1),
    "ConvInteger": (0, 1),
    "QLinearConv": (0, 3),
    "ConvTranspose": (0, 1),
    "MatMul": (0, 1),
    "MatMulInteger": (0, 1),
    "QLinearMatMul": (0, 3),
    "Gemm": (0, 1),
    "RNN": (0, 1, 2),
    "GRU": (0, 1, 2),
    "LSTM": (0, 1, 2),
}
"""Operators whose MACs are counted: the positions of their input and weights."""

_UNCOUNTED = ("Einsum", "Attention", "DeformConv", "RotaryEmbedding", "LinearAttention")
"""Operators that multiply and accumulate as well, and are not counted."""


class GraphError(Exception):
    """The graph is refused; the message lacks its subject, the file's name."""


def parse(data: bytes) -> onnx.ModelProto:
    """The model of a file's bytes, checked; raises ``GraphError``."""
    try:
        model = onnx.load_from_string(data)
    except Exception as error:  # the parser's errors have no common class but this
        raise GraphError("is not an ONNX file, or is damaged or truncated") from error
    if not (model.ir_version and model.opset_import and model.graph.node and model.graph.output):
        raise GraphError("is not an ONNX file: it holds no graph")
    if any(
        tensor.data_location == TensorProto.EXTERNAL or tensor.external_data for tensor in _tensors(model)
    ):
        raise GraphError(
            "keeps weights in other files, which are not read; put them into it first: onnx.save(onnx.load('x.onnx'), 'whole.onnx')"
        )
    own = {(function.domain, function.name) for function in model.functions}
    unknown = sorted(
        {
            f"{domain or 'ai.onnx'}.{node.op_type}"
            for node in _nodes(model)
            if not _is_known(domain := "" if node.domain == "ai.onnx" else node.domain, node.op_type)
            and (node.domain, node.op_type) not in own
        }
    )
    if unknown:
        more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
        raise GraphError(
            f"has operators that onnxruntime does not know: {', '.join(unknown[:_NAMED])}{more}; export it with standard ones"
        )
    return model


@dataclass(frozen=True)
class Interface:
    """What is read of a graph's inputs and outputs.

    Attributes
    ----------
    given, kind, axes : the input's name, ONNX type and number of axes.
    samples : the only length that it takes; None where any will do.
    output, outputs : the name of the output that is read, and how many there are.
    embedding : the name of the output that is an embedding; None where there is none.
    """

    given: str
    kind: int
    axes: int
    samples: int | None
    output: str
    outputs: int
    embedding: str | None


def interface(model: onnx.ModelProto) -> Interface:
    """The input, which has to be a waveform, and the output; raises ``GraphError``."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(each.name for each in inputs[:4])
        raise GraphError(f"takes {len(inputs)} inputs ({names}); a tagger takes one, the waveform")
    given = inputs[0].type.tensor_type
    sizes = [axis.dim_value if axis.HasField("dim_value") else None for axis in given.shape.dim]
    if given.elem_type not in RUN_TYPES or len(sizes) not in (1, 2):
        kind = TensorProto.DataType.Name(given.elem_type).lower()
        raise GraphError(
            f"takes {kind} of {len(sizes)} axes; a tagger takes a waveform of floats, (batch, samples) or (samples)"
        )
    if len(sizes) == 2 and (sizes[0] or 1) > 1:
        raise GraphError(f"takes {sizes[0]} clips at a time; export it with a batch of any size, or of 1")
    samples = None if sizes[-1] is None or sizes[-1] < 0 else sizes[-1]
    if samples == 0:
        raise GraphError("takes 0 samples; give a model of another length")
    outputs = [each.name for each in model.graph.output if each.type.tensor_type.elem_type in RUN_TYPES]
    if not outputs:
        raise GraphError("has no output of floats; a tagger outputs a probability or logit for each class")
    tags = [name for name in outputs if name not in EMBEDDINGS] or outputs
    output = next((name for name in OUTPUTS if name in tags), tags[0])
    embedding = next((name for name in EMBEDDINGS if name in outputs and name != output), None)
    return Interface(inputs[0].name, given.elem_type, len(sizes), samples, output, len(outputs), embedding)


def parameters(model: onnx.ModelProto) -> int:
    """Values of the weights: all initializers, and constants of more than one value, that are no shapes or indices."""
    graphs = list(_graphs(model))
    initializers = [tensor for graph in graphs for tensor in graph.initializer]
    initializers += [sparse.values for graph in graphs for sparse in graph.sparse_initializer]
    constants = [
        attribute.t
        for node in _nodes(model)
        if node.op_type == "Constant"
        for attribute in node.attribute
        if prod(attribute.t.dims) > 1
    ]
    return sum(prod(tensor.dims) for tensor in (*initializers, *constants) if tensor.data_type in _WEIGHTS)


@dataclass(frozen=True, eq=False)
class Outline:
    """A graph whose outputs are shapes, from which MACs follow; large weights are inputs, fed with zeros.

    Attributes
    ----------
    model : the graph, without the large weights.
    zeros : shapes and ONNX types of those.
    operators : (type, attributes, names of its output's, input's and weights' shapes) of each that is counted.
    refusal : why nothing is counted; empty where it is.
    """

    model: onnx.ModelProto
    zeros: Mapping[str, tuple[tuple[int, ...], int]]
    operators: Sequence[tuple[str, Mapping[str, Any], Sequence[str]]]
    refusal: str = ""


def outline(model: onnx.ModelProto, output: str) -> Outline:
    """The part of a graph that leads to ``output``, to be counted."""
    if model.functions:
        try:
            model = inliner.inline_local_functions(model)
        except Exception as error:  # the checker's errors have no common class but this
            if "alloc" in str(error):
                raise MemoryError from error
            raise GraphError(f"has functions that cannot be resolved ({one_line(error)})") from error
    nodes = _leading_to(model.graph, output)
    small = onnx.ModelProto(ir_version=max(8, model.ir_version), opset_import=model.opset_import)
    nested = {node.op_type for owner in nodes for graph in _subgraphs(owner) for node in _all(graph.node)}
    uncounted = sorted(
        {node.op_type for node in nodes if node.domain == "com.microsoft" or node.op_type in _UNCOUNTED}
        | {f"{name} in a subgraph" for name in nested & {*_INPUTS, *_UNCOUNTED}}
    )
    if uncounted:
        return Outline(small, {}, (), f"its graph has {', '.join(uncounted[:_NAMED])}, which are not counted")
    used = {name for node in nodes for name in _names(node)}
    zeros: dict[str, tuple[tuple[int, ...], int]] = {}
    graph = small.graph
    graph.name = "outline"
    weights = {tensor.name for tensor in model.graph.initializer}
    graph.input.extend(
        given for given in model.graph.input if given.name in used and given.name not in weights
    )
    for tensor in model.graph.initializer:
        if tensor.name not in used:
            continue
        if tensor.data_type in _FLOATS and prod(tensor.dims) > _SMALL:
            zeros[tensor.name] = (tuple(tensor.dims), tensor.data_type)
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        else:
            graph.initializer.append(tensor)
    graph.sparse_initializer.extend(model.graph.sparse_initializer)
    graph.node.extend(nodes)
    operators = []
    shapes: dict[str, str] = {}
    for node in nodes:
        if node.op_type not in _INPUTS:
            continue
        names = (node.output[0], *(node.input[position] for position in _INPUTS[node.op_type]))
        for name in names:
            if name not in shapes:
                shapes[name] = f"outline/{len(shapes)}"
                graph.node.append(helper.make_node("Shape", [name], [shapes[name]]))
                graph.output.append(helper.make_tensor_value_info(shapes[name], TensorProto.INT64, [None]))
        attributes = {each.name: each.i for each in node.attribute if each.name == "transA"}
        operators.append((node.op_type, attributes, [shapes[name] for name in names]))
    refusal = "" if operators else "its graph has no convolution and no matrix product"
    return Outline(small, zeros, operators, refusal)


def macs(outlined: Outline, shapes: Mapping[str, Sequence[int]]) -> int:
    """Multiply-accumulate operations of a pass, from the shapes that the outline's outputs are."""
    return sum(
        _macs(kind, attributes, [shapes[name] for name in names])
        for kind, attributes, names in outlined.operators
    )


def _macs(kind: str, attributes: Mapping[str, Any], shapes: Sequence[Sequence[int]]) -> int:
    output, given, weight = (tuple(map(int, shape)) for shape in shapes[:3])
    if kind == "ConvTranspose":
        return prod(given) * prod(weight[1:])
    if "Conv" in kind:
        return prod(output) * prod(weight[1:])
    if kind == "Gemm":
        return prod(output) * given[0 if attributes.get("transA") else 1]
    if "MatMul" in kind:
        return prod(output) * given[-1]
    return (
        given[0] * given[1] * (prod(weight) + prod(map(int, shapes[3])))
    )  # recurrent: each step of each clip


def _is_known(domain: str, name: str) -> bool:
    return domain in _OWN_DOMAINS or (domain == "" and defs.has(name))


def _leading_to(graph: onnx.GraphProto, output: str) -> list[onnx.NodeProto]:
    """The nodes that ``output`` follows from, in their order."""
    producer = {name: number for number, node in enumerate(graph.node) for name in node.output if name}
    wanted, found = [output], set()
    while wanted:
        number = producer.get(wanted.pop())
        if number is not None and number not in found:
            found.add(number)
            wanted += _names(graph.node[number])
    return [graph.node[number] for number in sorted(found)]


def _names(node: onnx.NodeProto) -> list[str]:
    """The names that a node or its subgraphs read."""
    inner = [name for graph in _subgraphs(node) for each in graph.node for name in _names(each)]
    inner += [each.name for graph in _subgraphs(node) for each in graph.output]
    return [*node.input, *inner]


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _all(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Nodes, and those of their subgraphs."""
    for node in nodes:
        yield node
        for graph in _subgraphs(node):
            yield from _all(graph.node)


def _nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    yield from _all(model.graph.node)
    for function in model.functions:
        yield from _all(function.node)


def _graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    yield model.graph
    for node in _nodes(model):
        yield from _subgraphs(node)


def _tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    for graph in _graphs(model):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in _nodes(model):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
