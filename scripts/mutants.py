"""Every small change of a module's source that its tests should notice: what scripts/mutation.py draws from."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
}
_OPERATORS: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "/"),
    ast.Mod: ("%", "//"),
    ast.Pow: ("**", "*"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
}
_CALLS = {
    "min": "max",
    "max": "min",
    "any": "all",
    "all": "any",
    "floor": "ceil",
    "ceil": "floor",
    "sum": "len",
}
_SHORT = 3  # strings up to this length are units, signs and separators that people read; longer ones are messages and keys


# In an f-string, whose parts have no places of their own before Python 3.12: the digits of a figure, and the unit behind it.
_DIGITS = re.compile(rb":[+,]*\.(\d)[fge%]")
_UNIT = re.compile(rb"\} ?(s|ms|MB|MiB|GB|G|M|k|Hz|dB|%)(?![A-Za-z])")


@dataclass(frozen=True)
class Mutant:
    """``path`` with the bytes ``start`` to ``end`` replaced; ``before`` and ``after`` are the line that shows it."""

    path: str
    line: int
    start: int
    end: int
    new: str
    before: str
    after: str

    @property
    def id(self) -> str:
        """The same as long as the line and its place in the file are."""
        text = "\n".join((self.path, str(self.line), str(self.start), self.before, self.after))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def apply(self, source: bytes) -> bytes:
        """The module's source with the change."""
        return source[: self.start] + self.new.encode() + source[self.end :]


def mutants_of(path: str, source: str) -> list[Mutant]:
    """All mutants of a module, in the order of its source; those that do not compile are left out."""
    tree = ast.parse(source)
    raw = source.encode()
    starts = [0]
    for content in raw.splitlines(keepends=True):
        starts.append(starts[-1] + len(content))
    found: dict[tuple[int, int, str], Mutant] = {}
    for node, start, end, new in _changes(tree, raw, starts):
        if raw[start:end].decode() == new:
            continue
        line = next(number for number in range(len(starts), 0, -1) if starts[number - 1] <= start)
        first, last = starts[line - 1], raw.find(b"\n", end)
        last = last if last >= 0 else len(raw)
        changed = raw[first:start] + new.encode() + raw[end:last]
        try:
            ast.parse(raw[:start] + new.encode() + raw[end:])
        except SyntaxError:
            continue
        before, after = (" ".join(text.decode().split()) for text in (raw[first:last], changed))
        found[start, end, new] = Mutant(path, node.lineno, start, end, new, before, after)
    return [found[key] for key in sorted(found)]


_Change = tuple[ast.expr | ast.stmt, int, int, str]


def _changes(tree: ast.Module, raw: bytes, starts: list[int]) -> Iterator[_Change]:
    def span(node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset

    def text(node: ast.expr) -> str:
        start, end = span(node)
        return raw[start:end].decode()

    def between(left: ast.expr, right: ast.expr, old: str, new: str) -> Iterator[_Change]:
        """The operator between two operands, replaced."""
        low, high = span(left)[1], span(right)[0]
        at = raw.find(old.encode(), low, high)
        if at >= 0:
            yield left, at, at + len(old.encode()), new

    for node in _walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            for left, right, operator in zip(sides, sides[1:], node.ops, strict=False):
                yield from between(left, right, *_COMPARISONS[type(operator)])
        elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            yield from between(node.left, node.right, *_OPERATORS[type(node.op)])
            if isinstance(node.op, ast.Add | ast.Sub | ast.Mult):  # a term or factor that is missing
                yield node, *span(node), f"({text(node.left)})"
        elif isinstance(node, ast.BoolOp):
            old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
            for left, right in zip(node.values, node.values[1:], strict=False):
                yield from between(left, right, old, new)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
            yield node, *span(node), f"({text(node.operand)})"
        elif isinstance(node, ast.IfExp):
            yield node, *span(node), f"({text(node.orelse)} if {text(node.test)} else {text(node.body)})"
        elif isinstance(node, ast.If) and not isinstance(node.test, ast.Compare | ast.BoolOp | ast.UnaryOp):
            yield node.test, *span(node.test), f"not ({text(node.test)})"
        elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
            yield node, *span(node), "return None"
        elif isinstance(node, ast.Raise):  # a guard that no longer guards
            yield node, *span(node), "pass"
        elif isinstance(node, ast.Call):
            yield from ((node, *span(node.func), new) for new in _other_call(node))
            if len(node.args) >= 2 and not any(isinstance(a, ast.Starred) for a in node.args[:2]):
                first, second = node.args[:2]
                (start, middle), (then, end) = span(first), span(second)
                yield node, start, end, text(second) + raw[middle:then].decode() + text(first)
        elif isinstance(node, ast.JoinedStr):
            start, end = span(node)
            for at in _DIGITS.finditer(raw, start, end):
                yield node, *at.span(1), str(int(at[1]) + 1)
            for at in _UNIT.finditer(raw, start, end):
                yield node, *at.span(1), "#"
        elif isinstance(node, ast.Constant):
            for other in _other_constants(node.value):
                yield node, *span(node), other


def _walk(node: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """Nodes that do something: no annotations, decorators, docstrings, imports, __all__, dictionary keys or subscripts by name."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("__all__", "__version__"):
        return
    if isinstance(node, ast.expr | ast.stmt):
        yield node
    if isinstance(node, ast.JoinedStr):
        return
    skipped: set[int] = set()
    for name in ("annotation", "returns", "decorator_list", "keys", "bases"):
        value = getattr(node, name, None)
        skipped.update(map(id, value if isinstance(value, list) else [value]))
    if (
        isinstance(node, ast.Subscript)
        and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, str)
    ):
        skipped.add(id(node.slice))
    for child in ast.iter_child_nodes(node):
        if id(child) not in skipped:
            yield from _walk(child)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _other_call(node: ast.Call) -> Iterator[str]:
    if isinstance(node.func, ast.Name) and node.func.id in _CALLS:
        yield _CALLS[node.func.id]
    elif isinstance(node.func, ast.Attribute) and node.func.attr in _CALLS:
        yield f"{ast.unparse(node.func.value)}.{_CALLS[node.func.attr]}"


def _other_constants(value: object) -> Iterator[str]:
    if isinstance(value, bool):
        yield str(not value)
    elif isinstance(value, int):
        yield str(value + 1)
        if value > 1:
            yield str(value - 1)
    elif isinstance(value, float):
        yield repr(value * 100 if value else 1.0)
    elif isinstance(value, str) and 0 < len(value) <= _SHORT:
        yield repr("#")
