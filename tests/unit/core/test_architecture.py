"""The direction of imports, and what a start may load."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BLOCKS = {
    "preprocess", "segment", "evaluation", "registration", "radiomics", "model", "report", "demo"
}  # fmt: skip


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def sources() -> list[Path]:
    return sorted((ROOT / "src/pipeline").rglob("*.py"))


def test_nothing_below_imports_the_command_line():
    for path in sources():
        assert not {n for n in imports(path) if n.split(".")[0] == "cli"}, path


def test_blocks_import_no_study_and_do_no_input_or_output():
    forbidden = ("pipeline.studies", "pipeline.io", "pipeline.config", "pipeline.provenance")
    for path in sources():
        parts = path.relative_to(ROOT / "src/pipeline").parts
        if parts[0] in BLOCKS - {"report", "demo"}:
            assert not [n for n in imports(path) if n.startswith(forbidden)], path


def test_studies_do_not_import_each_other():
    for path in sorted((ROOT / "src/pipeline/studies").glob("*.py")):
        assert not [n for n in imports(path) if n.startswith("pipeline.studies")], path


def test_only_the_entry_point_exits():
    for path in [*sources(), *sorted((ROOT / "cli").glob("*.py"))]:
        if path == ROOT / "cli/main.py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in ("exit", "_exit"):
                raise AssertionError(f"{path}:{node.lineno} exits")


@pytest.mark.parametrize(
    "statement",
    [
        "import pipeline.config, pipeline.sheets, pipeline.runlock",
        "import cli.main",
        "import pipeline.io",
    ],
)
def test_a_start_loads_nothing_heavy(statement):
    heavy = "{'torch', 'SimpleITK', 'pandas', 'scipy', 'sklearn', 'matplotlib', 'radiomics'}"
    code = f"import sys; {statement}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
