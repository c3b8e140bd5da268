"""The structure that docs/architecture.md describes: direction of imports, length of modules, one import path for a name."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from scripts import architecture_picture
from scripts.import_graph import LAYERS, PACKAGES, Import, imports, layer, modules, part

ROOT = Path(__file__).resolve().parent.parent
MAX_LINES = 350
PAGES = ("dashboard.compare", "dashboard.live", "dashboard.prune", "dashboard.filters")

MODULES = modules(ROOT, PACKAGES)
IMPORTS = imports(ROOT, PACKAGES)
# core/__init__.py is a face: it imports what it offers when that is used; dashboard/__init__.py holds nothing
INSIDE = [found for found in IMPORTS if not {"core", "dashboard"} & {found.module, found.target}]


def test_every_module_has_a_layer() -> None:
    parts = {part(name) for name in MODULES if name not in ("core", "dashboard")}
    assert parts - {name for parts in LAYERS for name in parts} == set()


def test_imports_go_down() -> None:
    upwards = [
        found
        for found in INSIDE
        if part(found.module) != part(found.target)
        and layer(found.target) >= layer(found.module)
        # `pannscope serve` starts the dashboard, which core knows in this one place only
        and not (found.module == "core.cli.serve" and found.target.startswith("dashboard."))
    ]
    assert [str(found) for found in upwards] == []


def test_models_know_neither_pruning_nor_profiling() -> None:
    known = {part(found.target) for found in INSIDE if part(found.module) == "core.models"}
    assert known & {"core.pruning", "core.profiling"} == set()


def test_pages_do_not_import_each_other() -> None:
    across = [
        found
        for found in INSIDE
        if {part(found.module), part(found.target)} <= set(PAGES) and part(found.module) != part(found.target)
    ]
    assert [str(found) for found in across] == []


def test_core_knows_its_face_for_the_version_only() -> None:
    taken = {found.name for found in IMPORTS if found.target == "core" and found.module.startswith("core.")}
    assert taken <= {"__version__"}


def test_charts_import_no_streamlit() -> None:
    for name, path in MODULES.items():
        if part(name) in ("dashboard.charts", "dashboard.formats"):
            assert "streamlit" not in imported_packages(path), name


def imported_packages(path: Path) -> set[str]:
    """The top-level packages that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names


def cycles(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_no_cycle_between_packages() -> None:
    graph = defaultdict(set)
    for found in INSIDE:
        if part(found.module) != part(found.target):
            graph[part(found.module)].add(part(found.target))
    assert cycles(graph) == []


def test_no_cycle_between_modules() -> None:
    graph = defaultdict(set)
    for found in INSIDE:
        graph[found.module].add(found.target)
    assert cycles(graph) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_is_long(package: str) -> None:
    lines = {
        name: len(path.read_text(encoding="utf-8").splitlines())
        for name, path in MODULES.items()
        if name.split(".")[0] == package
    }
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}


def offered(path: Path) -> set[str]:
    """The names in a package's __all__; none where it has no __all__."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def test_a_name_has_one_import_path() -> None:
    """What a package offers in __all__ is imported from the package, except by the package's own modules."""
    offers = {
        name: offered(path)
        for name, path in MODULES.items()
        if path.name == "__init__.py" and name not in PACKAGES
    }

    def face(found: Import) -> str | None:
        """The package outside the importing module that offers the name, where the import goes past it."""
        for package, names in offers.items():
            inside = f"{found.module}.".startswith(f"{package}.")
            if found.target.startswith(f"{package}.") and found.name in names and not inside:
                return package
        return None

    users = imports(ROOT, (*PACKAGES, "benchmarks", "scripts", "tests"))
    assert [f"{found}: take it from {face(found)}" for found in users if face(found)] == []


def test_picture_and_table_are_current() -> None:
    """scripts/architecture_picture.py writes them anew."""
    for path, text in architecture_picture.current().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run scripts/architecture_picture.py"


def test_the_picture_is_drawn_the_same_every_time() -> None:
    graph = architecture_picture.part_imports()
    backwards = dict(reversed(graph.items()))
    assert architecture_picture.draw(graph) == architecture_picture.draw(backwards)


def test_scikit_learn_is_imported_where_it_is_used() -> None:
    """It takes 75 MB, of which the server of the pages is to need none until a network is healed or scored."""
    files = [path for part in ("core", "dashboard", "pannscope") for path in (ROOT / part).rglob("*.py")]
    assert len(files) > 200
    assert [
        path for path in files if re.search(r"^(from|import) sklearn", path.read_text(), re.MULTILINE)
    ] == []
