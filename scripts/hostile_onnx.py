"""ONNX files made to attack, each loaded as a tagger: python scripts/hostile_onnx.py [--only TEXT] [--json]

Of every file: the message, the most memory of its process, and how long it took. Exit code 1 where one was not refused or stopped in one line.
Linux only: memory is read from /proc.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

MOST_S = 100.0

RATE = {"sample_rate": 16_000}


@dataclass(frozen=True)
class Kind:
    """One file: what is wrong with it, its writer into an empty folder, and a part of the line that refuses or stops it.

    ``slow`` is one that takes all the time that it may.
    """

    name: str
    make: Callable[[Path], Path]
    expected: str
    slow: bool = False


def model(
    nodes: Sequence[onnx.NodeProto],
    *,
    given: Sequence[Any] = ("batch", "samples"),
    output: str = "logits",
    shape: Sequence[Any] | None = ("batch", 3),
    initializers: Mapping[str, np.ndarray] | None = None,
    metadata: Mapping[str, Any] | None = None,
    **more: Any,
) -> onnx.ModelProto:
    """A model with one input, ``waveform``, and one output."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("waveform", TensorProto.FLOAT, given)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value, name) for name, value in (initializers or {}).items()],
    )
    imports = [helper.make_opsetid("", 18), *more.pop("opsets", ())]
    made = helper.make_model(graph, opset_imports=imports, ir_version=8, **more)
    helper.set_model_props(
        made, {key: str(value) for key, value in (RATE if metadata is None else metadata).items()}
    )
    return made


def kinds() -> Iterator[Kind]:
    """Every kind."""
    yield Kind("empty", partial(_bytes, b""), "is not an ONNX file")
    yield Kind("text", partial(_bytes, b"neither a graph nor weights\n" * 40), "is not an ONNX file")
    yield Kind(
        "random bytes", partial(_bytes, np.random.default_rng(0).bytes(100_000)), "is not an ONNX file"
    )
    yield Kind("zeros", partial(_bytes, bytes(100_000)), "is not an ONNX file")
    yield Kind(
        "a pickle", partial(_bytes, b"\x80\x04\x95\x10\x00\x00\x00cos\nsystem\n."), "is not an ONNX file"
    )
    yield Kind("cut in the middle", partial(_saved, _linear, cut=0.5), "is not an ONNX file")
    yield Kind("cut by a byte", partial(_saved, _linear, cut=0.9999), "is not an ONNX file")
    yield Kind("no graph", partial(_saved, lambda: onnx.ModelProto(ir_version=8)), "it holds no graph")
    for where in ("weights.bin", "../../../etc/passwd", "/etc/passwd"):
        yield Kind(
            f"external data: {where}",
            partial(_saved, partial(_external, where)),
            "keeps weights in other files",
        )
    yield Kind(
        "external data in a constant", partial(_saved, _external_constant), "keeps weights in other files"
    )
    yield Kind(
        "an operator of its own domain",
        partial(_saved, partial(_operator, "Shell", "evil")),
        "does not know: evil.Shell",
    )
    yield Kind(
        "an unknown operator",
        partial(_saved, partial(_operator, "Frobnicate", "")),
        "does not know: ai.onnx.Frobnicate",
    )
    yield Kind(
        "an unknown one of onnxruntime's",
        partial(_saved, partial(_operator, "Frobnicate", "com.microsoft")),
        "is refused by onnxruntime",
    )
    yield Kind(
        "a function that calls itself", partial(_saved, _recursive), "functions that cannot be resolved"
    )
    yield Kind("two inputs", partial(_saved, _two_inputs), "takes 2 inputs")
    yield Kind("an image", partial(_saved, partial(_pass, (1, 3, 224, 224))), "takes float of 4 axes")
    yield Kind("a batch of 8", partial(_saved, partial(_pass, (8, 16_000))), "takes 8 clips at a time")
    yield Kind(
        "a window of 2^40 samples", partial(_saved, partial(_pass, (1, 1 << 40))), "windows of up to 60 s"
    )
    yield Kind("a window of 0 samples", partial(_saved, partial(_pass, (1, 0))), "takes 0 samples")
    yield Kind("weights of other sizes", partial(_saved, _wrong_sizes), "is refused by onnxruntime")
    yield Kind("sizes that fit no clip", partial(_saved, _wrong_length), "cannot run on")
    yield Kind("a scalar", partial(_saved, _scalar), "outputs an array of shape ()")
    yield Kind("outputs NaN", partial(_saved, _nan), "outputs NaN or infinite")
    yield Kind("a million classes", partial(_saved, partial(_classes, 1_000_000)), "up to 20,000 classes")
    yield Kind("2^33 classes", partial(_saved, partial(_classes, 1 << 33)), "takes more memory")
    yield Kind("weights of 2^40 values without data", partial(_saved, _claimed), "is refused by onnxruntime")
    yield Kind(
        "ConstantOfShape of 2^38 values", partial(_saved, partial(_constant, 1 << 38)), "takes more memory"
    )
    yield Kind(
        "ConstantOfShape of 2^30 values", partial(_saved, partial(_constant, 1 << 30)), "takes more memory"
    )
    yield Kind("a product of 2^17 by 2^17", partial(_saved, _product), "takes more memory")
    yield Kind(
        "metadata of 8 MB", partial(_saved, partial(_linear, "x" * (8 << 20))), "metadata that cannot be read"
    )
    yield Kind(
        "a rate of 1 Hz", partial(_saved, partial(_linear, metadata={"sample_rate": 1})), "8,000 to 96,000"
    )
    yield Kind(
        "a table of labels that is none",
        partial(
            _saved,
            partial(_linear, metadata=RATE | {"class_labels_indices.csv": "index,mid,display_name\n7,x,y"}),
        ),
        "number its classes",
    )
    yield Kind(
        "a label twice",
        partial(_saved, partial(_linear, metadata=RATE | {"labels": '["a", "a", "b"]'})),
        "given twice",
    )
    yield Kind("nested 300 deep", partial(_nested, 300), "is not an ONNX file")
    yield Kind("nested 40 deep, 2^40 steps", partial(_saved, _doubling), "", slow=True)
    yield Kind("Loop of 2^62 steps", partial(_saved, partial(_loop, 1 << 62)), "processor time", slow=True)
    yield Kind("Loop that grows without end", partial(_saved, _growing), "takes more memory")
    yield Kind("Scan over 2^30 steps", partial(_saved, _scan), "", slow=True)


def _bytes(content: bytes, folder: Path) -> Path:
    path = folder / "hostile.onnx"
    path.write_bytes(content)
    return path


def _saved(make: Callable[[], onnx.ModelProto], folder: Path, cut: float = 1.0) -> Path:
    content = make().SerializeToString()
    return _bytes(content[: int(cut * len(content))], folder)


def _node(kind: str, given: Sequence[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, given, [output], **attributes)


def _mean(given: str = "waveform", output: str = "mean") -> onnx.NodeProto:
    """The mean of all samples, (1, 1)."""
    return _node("ReduceMean", [given], output, keepdims=1)


def _linear(comment: str = "", metadata: Mapping[str, Any] | None = None) -> onnx.ModelProto:
    """A whole one: the mean's products with three weights."""
    known = RATE if metadata is None else metadata
    nodes = [_mean(), _node("MatMul", ["mean", "weight"], "logits")]
    return model(
        nodes, initializers={"weight": np.ones((1, 3), np.float32)}, metadata={**known, "comment": comment}
    )


def _external(where: str) -> onnx.ModelProto:
    made = _linear()
    (weight,) = made.graph.initializer
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=where)
    return made


def _external_constant() -> onnx.ModelProto:
    tensor = TensorProto(
        name="w", data_type=TensorProto.FLOAT, dims=[1, 3], data_location=TensorProto.EXTERNAL
    )
    tensor.external_data.add(key="location", value="/etc/passwd")
    return model(
        [_mean(), _node("Constant", [], "w", value=tensor), _node("MatMul", ["mean", "w"], "logits")]
    )


def _operator(name: str, domain: str) -> onnx.ModelProto:
    opsets = [helper.make_opsetid(domain, 1)] if domain else []
    return model([helper.make_node(name, ["waveform"], ["logits"], domain=domain)], opsets=opsets)


def _recursive() -> onnx.ModelProto:
    inner = helper.make_node("Again", ["x"], ["y"], domain="own")
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    function = helper.make_function("own", "Again", ["x"], ["y"], [inner], imports)
    again = helper.make_node("Again", ["waveform"], ["logits"], domain="own")
    return model([again], opsets=imports[1:], functions=[function])


def _two_inputs() -> onnx.ModelProto:
    made = model([_node("Add", ["waveform", "state"], "logits")])
    made.graph.input.append(helper.make_tensor_value_info("state", TensorProto.FLOAT, [1]))
    return made


def _pass(given: tuple[int, ...]) -> onnx.ModelProto:
    return model([_node("Identity", ["waveform"], "logits")], given=given, shape=None)


def _wrong_sizes() -> onnx.ModelProto:
    weights = {"a": np.ones((2, 3), np.float32), "b": np.ones((5, 7), np.float32)}
    return model([_node("MatMul", ["a", "b"], "logits")], initializers=weights)


def _wrong_length() -> onnx.ModelProto:
    return model(
        [_node("MatMul", ["waveform", "w"], "logits")], initializers={"w": np.ones((7, 3), np.float32)}
    )


def _scalar() -> onnx.ModelProto:
    return model([_node("ReduceMean", ["waveform"], "logits", keepdims=0)], shape=None)


def _nan() -> onnx.ModelProto:
    return model(
        [_mean(), _node("Sub", ["mean", "mean"], "zero"), _node("Div", ["zero", "zero"], "logits")],
        shape=None,
    )


def _constant(size: int, after: Sequence[onnx.NodeProto] = ()) -> onnx.ModelProto:
    nodes = after or [_node("ReduceSum", ["huge"], "sum"), _mean(), _node("Add", ["mean", "sum"], "logits")]
    value = helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0])
    return model(
        [_node("ConstantOfShape", ["size"], "huge", value=value), *nodes],
        initializers={"size": np.array([size])},
        shape=None,
    )


def _classes(count: int) -> onnx.ModelProto:
    return _constant(count, [_mean(), _node("Add", ["mean", "huge"], "logits")])


def _claimed() -> onnx.ModelProto:
    made = _linear()
    (weight,) = made.graph.initializer
    weight.ClearField("raw_data")
    weight.dims[:] = [1, 1 << 40]
    return made


def _product() -> onnx.ModelProto:
    sizes = {"tall": np.array([1 << 17, 1]), "wide": np.array([1, 1 << 17])}
    nodes = [
        _mean(),
        _node("Expand", ["mean", "tall"], "a"),
        _node("Expand", ["mean", "wide"], "b"),
        _node("MatMul", ["a", "b"], "ab"),
        _mean("ab", "logits"),
    ]
    return model(nodes, initializers=sizes, shape=None)


def _body(nodes: Sequence[onnx.NodeProto], kept: str, shape: Sequence[Any] | None) -> onnx.GraphProto:
    """The body of a Loop: (step, condition, x) -> (condition, kept)."""
    return helper.make_graph(
        [_node("Identity", ["on"], "on_out"), *nodes],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, shape),
        ],
        [
            helper.make_tensor_value_info("on_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info(kept, TensorProto.FLOAT, shape),
        ],
    )


def _loop(steps: int) -> onnx.ModelProto:
    body = _body([_node("Sin", ["x"], "x_out")], "x_out", ["a", "b"])
    return model(
        [_mean(), _node("Loop", ["steps", "", "mean"], "logits", body=body)],
        initializers={"steps": np.array(steps)},
        shape=None,
    )


def _growing() -> onnx.ModelProto:
    body = _body([_node("Concat", ["x", "x"], "x_out", axis=1)], "x_out", ["a", "b"])
    return model(
        [_mean(), _node("Loop", ["steps", "", "mean"], "logits", body=body)],
        initializers={"steps": np.array(1 << 62)},
        shape=None,
    )


def _scan() -> onnx.ModelProto:
    body = helper.make_graph(
        [_node("Sin", ["x"], "x_out"), _node("Identity", ["row"], "row_out")],
        "body",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["a", "b"]),
            helper.make_tensor_value_info("row", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("x_out", TensorProto.FLOAT, ["a", "b"]),
            helper.make_tensor_value_info("row_out", TensorProto.FLOAT, [1]),
        ],
    )
    nodes = [
        _mean(),
        _node("Expand", ["mean", "size"], "rows"),
        helper.make_node("Scan", ["mean", "rows"], ["logits", "all"], body=body, num_scan_inputs=1),
    ]
    return model(nodes, initializers={"size": np.array([1 << 27, 1])}, shape=None)


def _nested(depth: int, folder: Path) -> Path:
    """Graphs in graphs, encoded by hand: the onnx package makes no more than 100."""
    graph = b""
    for _ in range(depth):
        attribute = _field(1, b"body") + _field(6, graph)
        graph = _field(1, _field(4, b"Loop") + _field(5, attribute))
    made = onnx.ModelProto(ir_version=8, opset_import=[helper.make_opsetid("", 18)])
    return _bytes(made.SerializeToString() + _field(7, graph), folder)


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field of a protocol buffer."""
    length, size = bytearray(), len(content)
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([number << 3 | 2, *length, size]) + content


def _doubling() -> onnx.ModelProto:
    """Functions that call the one before twice."""
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    functions = [helper.make_function("own", "F0", ["x"], ["y"], [_node("Sin", ["x"], "y")], imports)]
    for number in range(1, 40):
        nodes = [
            helper.make_node(f"F{number - 1}", ["x"], ["between"], domain="own"),
            helper.make_node(f"F{number - 1}", ["between"], ["y"], domain="own"),
        ]
        functions.append(helper.make_function("own", f"F{number}", ["x"], ["y"], nodes, imports))
    last = helper.make_node("F39", ["mean"], ["logits"], domain="own")
    return model([_mean(), last], opsets=imports[1:], functions=functions, shape=None)


def load(kind: Kind, folder: Path) -> dict[str, Any]:
    """Load one file, and what it took."""
    from core.errors import PannscopeError
    from core.onnx_tagger import process
    from core.tagging import load_tagger

    path, peaks, over = kind.make(folder), [0.0], threading.Event()
    original = process.Sandbox

    def watched(*arguments: Any) -> Any:
        sandbox = original(*arguments)
        threading.Thread(target=_watch, args=(sandbox.pid, peaks, over), daemon=True).start()
        return sandbox

    process.Sandbox = watched  # type: ignore[misc, assignment]
    began = time.perf_counter()
    try:
        load_tagger(checkpoint=path)
        outcome = "loaded"
    except PannscopeError as error:
        outcome = str(error).replace(f"{folder}/", "")
    except Exception as error:
        outcome = f"ESCAPED {type(error).__name__}: {error}"
    finally:
        over.set()
        process.Sandbox = original  # type: ignore[misc]
    seconds = time.perf_counter() - began
    return {"name": kind.name, "outcome": outcome, "mb": max(peaks), "seconds": round(seconds, 2)}


def _watch(pid: int, peaks: list[float], over: threading.Event) -> None:
    while not over.wait(0.005):
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            return
        peaks += [int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmHWM")]


def main() -> None:
    """Load all, print, and end with 1 where one was neither refused nor stopped in a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    parser.add_argument("--only", default="", metavar="TEXT", help="the kinds whose names hold this")
    options = parser.parse_args()
    rows, wrong = [], []
    for kind in kinds():
        if options.only not in kind.name:
            continue
        with tempfile.TemporaryDirectory(prefix="pannscope-hostile-") as folder:
            row = load(kind, Path(folder))
        rows.append(row)
        held = kind.expected in row["outcome"] and "\n" not in row["outcome"]
        if not held or row["outcome"].startswith(("loaded", "ESCAPED")) or row["seconds"] > MOST_S:
            wrong.append(kind.name)
        if not options.json:
            print(
                f"{row['name']:36} {row['mb']:7.1f} MB {row['seconds']:6.2f} s  {row['outcome'][:170]}",
                flush=True,
            )
    print(json.dumps(rows, indent=1) if options.json else f"{len(rows)} kinds; not as expected: {wrong}")
    raise SystemExit(int(bool(wrong)))


if __name__ == "__main__":
    main()
