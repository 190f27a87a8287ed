"""Who may import whom, and what must stay light."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("search_spaces", "evaluators", "kernels", "api")
# Lower layers first; a module may import its own layer and those below. Longest prefix decides.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("nas", "nas.errors"),
    ("nas.kernels", "nas.plan", "nas.validation"),
    ("nas.search_spaces",),
    ("nas.record", "nas.rungs", "nas.evaluators.base", "nas.evaluators.tasks"),
    ("nas.pauses", "nas.evaluators.schedule"),
    ("nas.evaluators.metrics", "nas.evaluators.latency.points", "nas.evaluators.scores.spec"),
    ("nas.deciding", "nas.spending"),
    (
        "nas.study",
        "nas.choosing",
        "nas.pareto",
        "nas.doubt",
        "nas.distance",
        "nas.describe",
        "nas.ledger",
        "nas.origins",
        "nas.locating",
        "nas.holding",
    ),
    ("nas.graph", "nas.drawing"),
    ("nas.evaluators", "nas.export", "nas.samplers", "nas.store", "nas.settings"),
    ("nas.driver",),
    (
        "nas.views",
        "nas.fronts",
        "nas.keeping",
        "nas.proxies",
        "nas.comparing",
        "nas.comparison_plot",
        "nas.report",
        "nas.starting",
        "nas.transfer",
        "nas.warmstart",
    ),
    ("nas.runner", "nas.inputs", "nas.exporting", "nas.repricing", "nas.remeasuring", "nas.verbs"),
    ("nas.bench", "nas.versions", "nas.replaying"),
    ("nas.service", "nas.client"),
    ("nas.cli", "nas.api", "nas.__main__"),
)
LEVEL = {prefix: level for level, prefixes in enumerate(LAYERS) for prefix in prefixes}


def test_imports_point_downwards() -> None:
    upwards = []
    for path, module in _modules():
        for imported in _imports_at_top(path):
            if imported.startswith("nas") and _level(imported) > _level(module):
                upwards.append(f"{module} imports {imported}")
    assert upwards == []


def test_specs_and_the_command_line_do_not_load_torch() -> None:
    modules = "nas.service, nas.client, nas.cli.commands, nas.api.app, nas.search_spaces.space"
    heavy = "{'torch', 'optuna', 'nevergrad', 'networkx', 'duckdb'}"
    code = f"import {modules}, sys; print(sorted({heavy} & set(sys.modules)))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "[]"


def test_the_store_alone_knows_duckdb_and_one_reader_of_files() -> None:
    reader = "nas.evaluators.tasks.text.parquet"
    users = {
        module
        for path, module in _modules()
        if "duckdb" in {name.split(".")[0] for name in _imports_anywhere(path)}
    }
    assert users - {reader}
    assert all(module.startswith("nas.store.") or module == reader for module in users)


def _modules() -> list[tuple[Path, str]]:
    """(file, name) of every module of ours; `rglob` does not follow the links in nas/."""
    found = []
    for root, prefix in [(ROOT / "nas", "nas"), *((ROOT / f, f"nas.{f}") for f in FOLDERS)]:
        for path in sorted(root.rglob("*.py")):
            inside = path.relative_to(root)
            if inside.parts[0] in FOLDERS or inside.name.startswith("test_"):
                continue
            parts = [part for part in inside.with_suffix("").parts if part != "__init__"]
            found.append((path, ".".join([prefix, *parts])))
    assert len(found) > 80
    return found


def _level(module: str) -> int:
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        if prefix in LEVEL and (length > 1 or len(parts) == 1):
            return LEVEL[prefix]
    raise AssertionError(f"{module} has no layer; give it one in this test and in DESIGN.md")


def _imports_at_top(path: Path) -> set[str]:
    """Names of modules imported when the file is imported."""
    return {name for node in ast.parse(path.read_text()).body for name in _names(node)}


def _imports_anywhere(path: Path) -> set[str]:
    return {name for node in ast.walk(ast.parse(path.read_text())) for name in _names(node)}


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
        return [node.module]
    return []
