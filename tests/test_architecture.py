"""The structure of the package: imports go one way, and nobody reaches into another's private names."""

import ast
from pathlib import Path

import grimp
import pytest

SOURCE = Path(__file__).parent.parent / "src" / "sightline"


@pytest.fixture(scope="module")
def graph():
    """Every import between modules, those for types and those inside functions counted."""
    return grimp.build_graph("sightline", exclude_type_checking_imports=False, cache_dir=None)


def circles(imports):
    """Return the strongly connected parts of more than one module (Tarjan 1972)."""
    index, low, stack, found = {}, {}, [], []

    def visit(module):
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in imports[module]:
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            part = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(part) > 1:
                found.append(sorted(part))

    for module in imports:
        if module not in index:
            visit(module)
    return found


def test_no_modules_import_each_other_in_a_circle(graph):
    modules = graph.modules
    imports = {one: sorted(graph.find_modules_directly_imported_by(one)) for one in modules}
    assert len(modules) > 150
    assert circles(imports) == []


def test_a_circle_would_be_found():
    imports = {"a": ["b"], "b": ["c"], "c": ["a", "d"], "d": []}
    assert circles(imports) == [["a", "b", "c"]]


def private_uses(text):
    """Return where a module imports another's underscore name, or reads one of another object.

    `self._x`, `cls._x` and names that the module itself defines or sets are its own.
    """
    tree = ast.parse(text)
    own = {node.name for node in ast.walk(tree)
           if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}  # fmt: skip
    own |= {node.attr for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
            and isinstance(node.value, ast.Name) and node.value.id in ("self", "cls", "made", "trace", "tree", "again")}  # fmt: skip
    own |= {node.target.id for node in ast.walk(tree)
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)}  # fmt: skip
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sightline"):
            found += [(node.lineno, name.name) for name in node.names if _private(name.name)]
        if isinstance(node, ast.Attribute) and _private(node.attr) and node.attr not in own:
            found.append((node.lineno, node.attr))
    return found


def _private(name):
    return name.startswith("_") and not name.startswith("__")


# Attributes of other packages that have no public name.
OF_OTHERS = {
    "_foreach_copy_", "_foreach_lerp_", "_foreach_norm", "_foreach_mul_", "_foreach_add_",
    "_foreach_sub_", "_fused_adamw_", "_execution_engine", "_NormBase", "_ConvNd",
    "_is_avx512_bf16_supported", "_is_amx_tile_supported",
    "_asdict", "_fields", "_replace", "_make", "_predictors", "_exit",
}  # fmt: skip


@pytest.mark.parametrize(
    "path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE))
)
def test_no_module_reads_private_names_of_another(path):
    found = [
        (line, name)
        for line, name in private_uses(path.read_text(encoding="utf-8"))
        if name not in OF_OTHERS
    ]
    assert found == []


def test_a_private_name_of_another_module_would_be_found():
    text = "from sightline.load.table import _read\n\nprint(thing._value, self.__class__)\n"
    assert private_uses(text) == [(1, "_read"), (3, "_value")]
    assert private_uses("thing._value = 1\nprint(thing._value)") == [(1, "_value"), (2, "_value")]
    assert private_uses("self._value = 1\nprint(self._value)") == []


# ------------------------------------------------------------- ARCHITECTURE.md


def test_every_room_is_in_the_linter_and_in_the_text():
    import tomllib

    root = SOURCE.parent.parent
    text = (root / "ARCHITECTURE.md").read_text(encoding="utf-8")
    linter = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "importlinter"
    ]
    layers = [room for layer in linter["contracts"][0]["layers"] for room in layer.split(" | ")]
    rooms = {path.stem if path.is_file() else path.name for path in SOURCE.iterdir()
             if not path.name.startswith("_") and path.suffix in ("", ".py")}  # fmt: skip
    assert set(layers) == rooms
    order = " < ".join(reversed(linter["contracts"][0]["layers"]))
    assert order in " ".join(text.split())
    for room in rooms:
        assert f"`{room}" in text, room


def test_every_file_that_the_text_names_is_there():
    import re

    text = (SOURCE.parent.parent / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.(?:py|js))`", text)
    assert len(named) > 40
    missing = [
        name
        for name in named
        if not (SOURCE / name).is_file() and not (SOURCE.parent.parent / name).is_file()
    ]
    assert missing == []
