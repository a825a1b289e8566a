"""The house: imports point down one list, nothing imports in a circle, and `import interp` stays light."""

import ast
import inspect
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "interp"
ORDER = [  # DESIGN, section 2: a row imports itself and rows above it
    {"results"},
    {"hooks"},
    {"parts", "adapters"},
    {"architectures"},
    {"tasks"},
    {"effects"},
    {"discovery"},
    {"codebook", "programs", "icl", "depth", "lens"},
    {"surgery"},
    {"garden"},
    {"commands", "cli", "demo", "__init__", "__main__"},
]
RANK = {name: rank for rank, row in enumerate(ORDER) for name in row}


def _modules() -> dict[str, Path]:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = ("interp", *path.relative_to(ROOT).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()


def _part(module: str) -> str:
    """The part of the house that a module is in: interp.hooks.site -> hooks."""
    return module.split(".")[1] if "." in module else "__init__"


@cache
def imports(module: str, *, late: bool = True) -> frozenset[str]:
    """The modules of ours that `module` imports; those inside functions too if `late`, type checking never."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()
    for node in _statements(ast.parse(path.read_text()), late):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            base = node.module or ""
            if node.level:
                base = ".".join([*package.split(".")[: len(package.split(".")) - node.level + 1], base]).rstrip(".")
            names = [f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names]
        found |= {name for name in names if name in MODULES}
    return frozenset(found - {module})


def _statements(tree: ast.AST, late: bool):
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        elif late or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _statements(node, late)


def test_every_part_of_the_house_has_its_place():
    assert {_part(module) for module in MODULES} <= set(RANK)


@pytest.mark.parametrize("part", sorted({_part(m) for m in MODULES}))
def test_imports_point_down(part):
    wrong = [
        f"{module} imports {other}"
        for module in MODULES if _part(module) == part
        for other in imports(module)
        # importing any module runs interp/__init__, which itself imports nothing until asked
        if other != "interp" and RANK[_part(other)] > RANK[part]
    ]
    assert not wrong, "\n".join(wrong)


def test_neighbours_in_a_row_import_one_another_one_way_at_most():
    pairs = {(_part(m), _part(o)) for m in MODULES for o in imports(m)}
    mutual = {(a, b) for a, b in pairs if a < b and RANK[a] == RANK[b] and (b, a) in pairs and RANK[a] < RANK["cli"]}
    assert not mutual


def test_no_module_imports_itself_through_others():
    state: dict[str, str] = {}

    def visit(module: str, trail: list[str]) -> None:
        if state.get(module) == "done":
            return
        assert state.get(module) != "open", " -> ".join([*trail[trail.index(module):], module])
        state[module] = "open"
        for other in sorted(imports(module, late=False) - {"interp"}):
            # `from package import name` inside the package itself is its own __init__ being read
            if not module.startswith(other + "."):
                visit(other, [*trail, module])
        state[module] = "done"

    for module in MODULES:
        visit(module, [])


def _loaded(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sorted(sys.modules))"],
        capture_output=True, text=True, check=True,
    )
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy():
    loaded = _loaded("import interp; dir(interp)")
    heavy = {"torch", "numpy", "pandas", "transformers", "plotly", "scipy", "sklearn", "rich", "typer", "timm"}
    assert not loaded & heavy
    assert not {name for name in loaded if name.startswith("interp.")}


def test_building_a_model_needs_neither_transformers_nor_plotly():
    loaded = _loaded("import interp; interp.build('gpt', d_model=8, n_layers=1, n_heads=1, d_vocab=5)")
    assert "torch" in loaded
    assert not loaded & {"transformers", "plotly", "sklearn", "timm", "transformer_lens"}


def test_every_public_name_arrives():
    import interp

    assert all(callable(getattr(interp, name)) for name in interp.__all__)
    assert set(interp.__all__) <= set(dir(interp))
    with pytest.raises(AttributeError, match="decompose"):
        interp.decompos  # noqa: B018


def test_a_package_is_called_like_its_function_whatever_was_imported_first():
    import interp
    from interp.effects.rules import rule_set
    from interp.tasks.registry import tasks

    assert interp.effects.rules.rule_set is rule_set
    assert [entry.name for entry in interp.tasks()] == [entry.name for entry in tasks()]
    assert "metric" in inspect.signature(interp.effects).parameters
