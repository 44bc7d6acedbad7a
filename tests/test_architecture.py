"""The rules of the house: who may import whom, what stays light, and what does not appear anywhere."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("echomimic", "engine", "studio", "trainer")
CONTRACT = {f"engine.contract.{path.stem}" for path in (ROOT / "engine" / "contract").glob("[!_]*.py")}
HEAVY = ("torch", "diffusers", "transformers", "mediapipe", "cv2", "av", "librosa", "gradio")
MAX_LINES = 400

SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
ALL_PYTHON = sorted([*SOURCES, *(ROOT / "tests").rglob("*.py"), *ROOT.glob("*.py")])


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules_of(names: Iterator[str], package: str) -> set[str]:
    return {name for name in names if name == package or name.startswith(package + ".")}


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_arrows_point_towards_the_engine(path: Path):
    package = path.relative_to(ROOT).parts[0]
    forbidden = {
        "echomimic": set(),
        "engine": {"echomimic", "studio", "trainer", "app"},
        "studio": {"echomimic", "trainer", "app"},
        "trainer": {"echomimic", "studio", "app"},
    }
    beside = {"goals", "research", "tests"}
    wrong = [name for name in imports(path) if name.split(".")[0] in forbidden[package] | beside]
    assert not wrong


LAYERS = {
    "engine": ("contract", "media", "sampling", "wan", "nano"),
    "trainer": ("data", "loop", "metrics", "prepare", "subjects", "objectives", "cli"),
}
"""Lowest first: a module imports from its own layer and from those before it."""
UPWARD = {
    "engine/contract/records.py": "engine.media",  # read_record opens a file, and only then
}


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_layers_import_downwards_only(path: Path):
    package, layer = (*path.relative_to(ROOT).parts, "")[:2]
    layers = LAYERS.get(package, ())
    if layer not in layers:
        return
    above = {f"{package}.{name}" for name in layers[layers.index(layer) + 1 :]} - {UPWARD.get(named(path))}
    assert not [name for name in imports(path) if ".".join(name.split(".")[:2]) in above]


@pytest.mark.parametrize("path", sorted((ROOT / "studio").rglob("*.py")), ids=named)
def test_the_studio_knows_only_the_contract_of_the_engine(path: Path):
    allowed = {"engine"} | CONTRACT
    used = modules_of(imports(path), "engine")
    assert not [name for name in used if name not in allowed and name.rsplit(".", 1)[0] not in CONTRACT]


@pytest.mark.parametrize(
    "module", [*sorted(CONTRACT), "engine.__main__", "engine.session", "echomimic", "echomimic.cli"]
)
def test_what_must_start_at_once_imports_nothing_heavy(module: str):
    code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", ALL_PYTHON, ids=named)
def test_no_file_is_longer_than_can_be_read_at_a_sitting(path: Path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


INITS = [path for path in SOURCES if path.name == "__init__.py" and path.parent.name != "echomimic"]


@pytest.mark.parametrize("path", INITS, ids=named)
def test_package_inits_are_light(path: Path):
    body = ast.parse(path.read_text(encoding="utf-8")).body
    assert all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body)


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_every_module_says_what_it_is(path: Path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree) or not tree.body


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_there_is_no_dumping_ground(path: Path):
    assert path.stem not in {"utils", "util", "helpers", "helper", "misc", "common", "core", "base", "stuff"}


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_nothing_is_swallowed_unpickled_or_left_to_do(path: Path):
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None), f"bare except in line {node.lineno}"
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            safe = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}.get("weights_only")
            assert safe == "True", f"line {node.lineno} would unpickle"
        if isinstance(node, ast.Attribute | ast.Name):
            assert not re.fullmatch(
                r"(pickle|dill|joblib|marshal|shelve)\.(load|loads|open|Unpickler)", ast.unparse(node)
            )
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", text)


@pytest.mark.parametrize("path", ALL_PYTHON, ids=named)
def test_no_path_of_one_machine_is_written_down(path: Path):
    assert not re.search(r"[\"'\s](/work/|/root/|/home/\w|/Users/\w|[A-Z]:\\\\)", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_names_are_the_fields_words(path: Path):
    assert not re.search(r"\b(ip_mask|temp_x|neg_scale|neg_steps)\b", path.read_text(encoding="utf-8"))
