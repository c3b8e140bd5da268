"""Which module imports which, read from the source: the tests of the layers and the picture of the architecture work from it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("core", "dashboard", "pannscope")

# From the bottom up. A part imports from the layers below its own, never from its own layer or from one above it.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("core.errors", "core.units", "core.sandbox", "core.class_search", "core.energy"),
    ("core.settings", "core.files", "core.classes", "core.audio", "core.models"),
    ("core.windows", "core.examples", "core.checkpoints", "core.runtime", "core.ontology"),
    ("core.tags", "core.onnx_tagger"),
    ("core.tagging", "core.profiling", "core.feature_map"),
    ("core.compare", "core.events", "core.streaming", "core.training"),
    (
        "core.pruning",
        "core.verdict",
        "core.comparisons",
        "core.tradeoff",
        "core.embeddings",
        "core.panns_inference",
    ),
    ("core.api", "core.export"),
    ("core.benchmark", "core.batch"),
    ("core.cli",),
    ("pannscope",),
    ("dashboard.formats",),
    ("dashboard.charts",),
    ("dashboard.server",),
    ("dashboard.widgets",),
    (
        "dashboard.compare",
        "dashboard.live",
        "dashboard.prune",
        "dashboard.filters",
        "dashboard.tradeoff",
        "dashboard.corpus",
        "dashboard.models",
    ),
    ("dashboard.app",),
)


@dataclass(frozen=True, order=True)
class Import:
    """One import statement's target: ``name`` is what ``from target import name`` takes, "" for ``import target``."""

    module: str
    target: str
    name: str
    line: int

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.name + ' from ' if self.name else ''}{self.target}"


def modules(root: Path, packages: Iterable[str]) -> dict[str, Path]:
    """The modules of `packages` by dotted name; core/data holds files that are copied into exports, not modules."""
    named = {}
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            if parts[:2] != ("core", "data"):
                named[".".join(parts).removesuffix(".__init__")] = path
    return named


def imports(root: Path, packages: Iterable[str]) -> list[Import]:
    """Every import in `packages` of a module in `packages`: at the top, inside functions, and under TYPE_CHECKING."""
    known = modules(root, packages)
    return sorted(set().union(*(_imports_of(name, path, known) for name, path in known.items())))


def _imports_of(module: str, path: Path, known: dict[str, Path]) -> Iterator[Import]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (Import(module, a.name, "", node.lineno) for a in node.names if a.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                taken = (submodule, "") if submodule in known else (node.module, alias.name)
                yield Import(module, *taken, node.lineno)


def part(module: str) -> str:
    """What a module belongs to: a package inside core or dashboard (``core.pruning``), a module there, or pannscope."""
    return "pannscope" if module.startswith("pannscope") else ".".join(module.split(".")[:2])


def layer(module: str) -> int:
    """The index in LAYERS of a module's part."""
    return next(index for index, parts in enumerate(LAYERS) if part(module) in parts)
