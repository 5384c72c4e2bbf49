"""The rooms of qmodels: the map in docs/architecture.md names each, and imports go down in it.

A room is a folder of the package, or a module beside the folders. An arrow is a pair of rooms of
which the first imports the second, or names it: processes are started by the name of a module.
"""

import ast
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

from qmodels.measure import metrics
from qmodels.system import worker

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "qmodels"
TEXTS = (".py", ".md", ".html", ".toml")
MAP = ROOT / "docs" / "architecture.md"


def rooms_of(package: Path) -> dict[str, list[Path]]:
    """The modules of each room."""
    rooms: dict[str, list[Path]] = {}
    benches = package / "benches"  # a link, which ``rglob`` does not follow
    for module in sorted({*package.rglob("*.py"), *benches.glob("*.py")}):
        room = module.relative_to(package).parts[0].removesuffix(".py")
        if room != "__init__":
            rooms.setdefault(room, []).append(module)
    return rooms


def used_names(module: Path, package: str) -> set[str]:
    """Full names of what a module imports, within its functions too, and of what it starts."""
    names = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        match node:
            case ast.Import():
                names |= {alias.name for alias in node.names}
            case ast.ImportFrom():
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
            case ast.Constant(value=str(text)):
                names.add(text)
            case (
                ast.Tuple(elts=[ast.Constant(value=first), ast.Constant(value=command), *_])
                | ast.List(elts=[ast.Constant(value=first), ast.Constant(value=command), *_])
                | ast.Call(args=[ast.Constant(value=first), ast.Constant(value=command), *_])
            ) if first == package and str(command).isidentifier():
                names.add(f"{package}.cli.{command!s}")
    return names


def arrows_of(package: Path) -> set[tuple[str, str]]:
    """The pairs of rooms of which the first imports the second, or starts a process of it."""
    rooms = rooms_of(package)
    arrows = set()
    for room, modules in rooms.items():
        for name in set().union(*(used_names(module, package.name) for module in modules)):
            root, _, rest = name.partition(".")
            target = re.split(r"\W", rest)[0]
            if root == package.name and target in rooms and target != room:
                arrows.add((room, target))
    return arrows


def summary(room: str) -> str:
    """The first line of a room's docstring."""
    source = (PACKAGE / room / "__init__.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def rows() -> dict[str, str]:
    """The rooms on the map, in its order, each with its line."""
    text = MAP.read_text(encoding="utf-8")
    return dict(re.findall(r"^  (\w+)/ +(.+)$", text, flags=re.MULTILINE))


def test_the_map_says_what_the_packages_say() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert set(rows()) == folders
    expected = {room: summary(room) for room in rows()}
    lines = "\n".join(f"  {room + '/':<12}{line}" for room, line in expected.items())
    assert rows() == expected, f"the map in {MAP} should be:\n{lines}"


def test_imports_go_only_down_the_map() -> None:
    order = ["__main__", *rows()]
    arrows = arrows_of(PACKAGE)
    print(f"\n{len(rooms_of(PACKAGE))} rooms, {len(arrows)} arrows:")
    for room in order:
        below = sorted({to for start, to in arrows if start == room}, key=order.index)
        print(f"  {room:<12}{' '.join(below)}")
    upward = [(start, to) for start, to in arrows if order.index(to) < order.index(start)]
    of_another_state = [("base", "benches"), ("base", "cli")]
    assert sorted(upward) == of_another_state, "a base runs its own benches and command"


def test_only_its_bench_imports_what_runs_on_gpus_alone() -> None:
    assert {start for start, to in arrows_of(PACKAGE) if to == "nvidia"} == {"benches"}


def test_an_upward_import_is_an_arrow(tmp_path: Path) -> None:
    package = tmp_path / "qmodels"
    for room in ("data", "gate"):
        (package / room).mkdir(parents=True)
        (package / room / "__init__.py").touch()
    (package / "__main__.py").write_text("from qmodels import data\n")
    (package / "data" / "digits.py").write_text(
        "import torch\ndef load():\n    from qmodels.gate import verdict\n"
    )
    (package / "gate" / "verdict.py").write_text("import qmodels.gate.ranks\n")
    assert arrows_of(package) == {("__main__", "data"), ("data", "gate")}


@pytest.mark.parametrize(
    "start",
    [
        'start("qmodels.gate.worker")',
        'f("qmodels.gate:x")',
        'COMMAND = ("qmodels", "serve")',
        'start("qmodels", "serve")',
        'run(["qmodels", "serve", "--fast"])',
    ],
)
def test_a_process_is_an_arrow_too(start: str, tmp_path: Path) -> None:
    package = tmp_path / "qmodels"
    for room in ("data", "gate", "cli"):
        (package / room).mkdir(parents=True)
    (package / "gate" / "worker.py").touch()
    (package / "cli" / "serve.py").touch()
    (package / "data" / "digits.py").write_text(start)
    assert arrows_of(package) == {("data", "cli" if "serve" in start else "gate")}


def test_gates_and_reports_need_no_torch() -> None:
    script = "import sys, qmodels.cli.choose, qmodels.cli.report; sys.exit('torch' in sys.modules)"
    ended = worker.run(sys.executable, "-c", script, timeout=60, folder=ROOT)
    assert ended.status == 0, ended.reason


def test_variants_need_no_room_above_them() -> None:
    script = """
import sys
from qmodels import variants
variants.all_variants()
print(*sorted({name.split(".")[1] for name in sys.modules if name.startswith("qmodels.")}))
"""
    ended = worker.run(sys.executable, "-c", script, timeout=60, folder=ROOT)
    below = {"backends", "data", "network", "nvidia", "quantize", "system", "variants"}
    assert set(ended.stdout.decode().split()) == below


def test_the_names_of_metrics_stand_in_their_table_alone() -> None:
    modules = [path for folder in ("qmodels", "benches") for path in (ROOT / folder).rglob("*.py")]
    literals = {
        f"{module.relative_to(ROOT)}: {node.value}"
        for module in modules
        if module != Path(metrics.__file__)
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in metrics.METRICS
    }
    assert not literals


def test_a_function_that_no_other_file_names_begins_with_an_underscore() -> None:
    folders = ("qmodels", "benches", "tests", "docs", "examples")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.*")]
    texts = {path: path.read_text(encoding="utf-8") for path in files if path.suffix in TEXTS}
    words = {path: set(re.findall(r"\w+", text)) for path, text in texts.items()}
    files_of = Counter(word for of_file in words.values() for word in of_file)
    alone = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in texts
        if PACKAGE in path.parents and path.suffix == ".py"
        for node in ast.parse(texts[path]).body
        if isinstance(node, ast.FunctionDef)
        and not node.decorator_list  # variants and hooks are found by their decorators
        and files_of[node.name] == 1
        and not node.name.startswith("_")
    ]
    assert not alone
