"""Options without a user: a parameter with a default that no call in the product replaces. vulture finds unused functions and classes."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from core import API
from scripts.import_graph import modules

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("core", "dashboard", "pannscope", "benchmarks", "scripts")

ALLOWED = {
    "measure_sensitivity(ratios)": "the tests measure fewer ratios, in seconds instead of minutes",
    "usable_cpus(root)": "the tests' stand-in for the root of the file system",
    "total_memory(root)": "the same",
    "Spectrograms(cache_mb)": "a test's cache holds few clips",
}


def functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef, bool]]:
    """The functions of a module and the methods of its classes, with the name that calls use, and whether the first is self."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node, False
        for method in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(method, ast.FunctionDef):
                static = any(ast.unparse(item) == "staticmethod" for item in method.decorator_list)
                yield node.name if method.name == "__init__" else method.name, method, not static


def defaults(function: ast.FunctionDef, bound: bool) -> dict[str, int | None]:
    """Parameters with a default, and their positions in a call; None for keyword-only ones."""
    positional = [*function.args.posonlyargs, *function.args.args][bound:]
    first = len(positional) - len(function.args.defaults)
    found: dict[str, int | None] = {arg.arg: at for at, arg in enumerate(positional) if at >= first}
    named = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    return found | {arg.arg: None for arg, default in named if default is not None}


def called_name(function: ast.expr) -> str:
    return ast.unparse(function).rpartition(".")[2]


def test_every_option_is_used() -> None:
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in modules(ROOT, PACKAGES).values()}
    calls: dict[str, list[tuple[int, set[str | None], bool]]] = defaultdict(list)
    passed_on = set()  # functions that are handed to something that calls them, with what nobody can say
    for tree in trees.values():
        targets = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                function, arguments = node.func, node.args
                if called_name(function) == "partial" and arguments:
                    function, *arguments = arguments
                starred = any(isinstance(argument, ast.Starred) for argument in arguments)
                names = {keyword.arg for keyword in node.keywords}
                calls[called_name(function)].append((len(arguments), names, starred))
            elif isinstance(node, ast.Name | ast.Attribute) and id(node) not in targets:
                passed_on.add(called_name(node))
    unused: dict[str, str] = {}
    for path, tree in trees.items():
        if path == ROOT / "scripts" / "torch-cpu" / "backend.py":
            continue  # PEP 517 has the signatures
        for name, function, bound in functions(tree):
            if name in API or name in passed_on or name.startswith("__"):
                continue
            for parameter, at in defaults(function, bound).items():
                given = any(
                    starred or {parameter, None} & names or (at is not None and at < count)
                    for count, names, starred in calls[name]
                )
                if not given:
                    unused[f"{name}({parameter})"] = f"{path.relative_to(ROOT)}:{function.lineno}"
    assert {option: place for option, place in unused.items() if option not in ALLOWED} == {}
    assert ALLOWED.keys() - unused.keys() == set()
