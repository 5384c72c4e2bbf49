"""Whatever is damaged in a file is one line, and nothing is written. Ten seconds for 300 files.

`pytest tests/cli/test_damage.py --hypothesis-profile nightly` tries 15,000.
"""

import contextlib
import copy
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qmodels import cli, variants
from qmodels.base.protocol import Hello
from qmodels.base.requests import BuildResult
from qmodels.base.serving import BuildRequest
from qmodels.measure.latency import Visited
from qmodels.measure.latency_worker import VisitRequest
from qmodels.network import Network
from qmodels.system import codec, store
from qmodels.system.errors import UserError
from qmodels.training import checkpoints
from qmodels.variants.artifact import open_artifact
from tests.gate.repositories import commit, git
from tests.report.page.records import record

# Of each of the twelve tests: 25 files, and 1,250 in the nightly workflow.
damages = settings(
    max_examples=settings().max_examples // 4,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
CLASS, NETWORK = "linux-x86_64-avx512_bf16", "digits-resnet34-w8"
STORED = Path("baselines", CLASS, f"{NETWORK}.json")
# Values of other types, and numbers that no measurement gives.
STRANGERS: list[Any] = [
    *(None, True, 0, -1, 3, 0.5, -2.5, 1e308, 2**63, 10**400, "", "x", "\ud800", "1.0"),
    *([], [1], [[]], {}, {"value": 1}, "eJxjYAQAAAMAAg=="),  # the last is a packed array of two
]
# Commands, and which files they read.
READ = {
    "baseline diff run.json": {"run", "stored", "tolerances"},
    "report run.json": {"run", "stored"},  # and its own verdicts
    "report without-verdicts.json": {"stored", "tolerances"},
    f"report {STORED}": {"stored"},
    f"report {STORED} --study": {"stored"},
    f"baseline show {STORED}": {"stored", "tolerances"},
    f"choose {STORED}": {"stored"},
    "baseline accept run.json --all": {"run", "stored", "tolerances"},
}
COMMANDS = (
    *READ,
    *("report run.json --study", "report run.json --html /dev/null", "choose run.json"),
    *("report run.json --svg /dev/null", f"baseline diff run.json --baseline {STORED}"),
    f"history size_bytes {NETWORK}",
)


@st.composite
def damaged_json(draw: st.DrawFn, content: bytes) -> bytes:
    """A JSON file of which a part is gone, of another type, there twice, or other bytes."""
    kind = draw(st.sampled_from(["drop", "retype", "retype", "duplicate", "key twice", "bytes"]))
    if kind == "bytes":
        return draw(damaged_bytes(content))
    whole = json.loads(content)
    parent, key = draw(places(whole))
    if kind == "drop":
        del parent[key]
    elif kind == "retype":
        parent[key] = copy.deepcopy(draw(st.sampled_from(STRANGERS)))
    elif kind == "duplicate":
        other, at = draw(places(whole))
        parent[key] = copy.deepcopy(other[at])
    text = json.dumps(whole)
    if kind == "key twice":
        name = json.dumps(str(key)) + ":"
        text = text.replace(name, f"{name} 1, {name}", 1)
    return text.encode()


@st.composite
def places(draw: st.DrawFn, whole: Any) -> tuple[Any, Any]:
    """An object or a list in a JSON value, and a key or a position in it, at any depth alike."""
    depth = draw(st.integers(0, 6))
    while True:
        keys = list(whole) if isinstance(whole, dict) else list(range(len(whole)))
        key = draw(st.sampled_from(keys))
        inner = whole[key]
        if not inner or not isinstance(inner, dict | list) or depth == 0:
            return whole, key
        whole, depth = inner, depth - 1


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """A file that was cut short, or with other bits."""
    if draw(st.booleans()):
        return content[: draw(st.integers(0, len(content) - 1))]
    flipped = bytearray(content)
    for position in draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        flipped[position] ^= 1 << draw(st.integers(0, 7))
    return bytes(flipped)


@st.composite
def damaged_toml(draw: st.DrawFn, content: bytes) -> bytes:
    """A TOML file of which a line is gone or there twice, or a value is another."""
    if draw(st.booleans()):
        return draw(damaged_bytes(content))
    lines = content.decode().splitlines()
    index = draw(st.integers(0, len(lines) - 1))
    name, equals, _ = lines[index].partition("=")
    others = ["nan", "inf", "-1", "true", '"x"', "[]", "{}", "2026-01-01", "1e999", "{a = 1}"]
    change = draw(st.sampled_from(["drop", "twice", *others]))
    if change == "drop":
        del lines[index]
    elif change == "twice":
        lines.insert(index, lines[index])
    else:
        lines[index] = f"{name}{equals}{change}" if equals else f"[{change}]"
    return "\n".join(lines).encode()


@pytest.fixture
def worktree(tmp_path: Path) -> Iterator[Path]:
    """A checkout with stored runs, tolerances and runs, as the working directory."""
    folder = tmp_path / "worktree"
    (folder / STORED.parent).mkdir(parents=True)
    for path in STORED.parent.glob(f"{NETWORK}.*"):
        shutil.copy(path, folder / path)
    (folder / "baselines" / "tolerances.toml").write_text(
        "[top1]\ntolerance = 0.2\nlevel = 0.01\n[size_bytes.arithmetic.int8]\ntolerance = 0.1\n"
        "[latency_ratio.variants.onnx-int8]\nother_host = 0.3\n"
    )
    key = ["digits-resnet34-w8", "bench_size", "fp32", 1]
    verdicts = {
        "format": 4,
        "findings": [[key, "bench_size[fp32]", "size_bytes", "ok", "size_bytes from 1 to 1", "c"]],
        "gone": [[key, "bench_size[fp32]", "size_bytes", "missing", "size_bytes", "c"]],
        "failures": [["bench_memory[fp32]", "it broke", "fp32", ""]],
        "skipped": {"no TPU": ["tpu"]},
    }
    measured = record(machine_class=CLASS) | {"machine_info": {"machine_class": CLASS}}
    (folder / "without-verdicts.json").write_text(json.dumps(measured))
    (folder / "run.json").write_text(json.dumps(measured | {"qmodels": verdicts}))
    git(folder, "init", "-q")
    commit(folder, "Stored")
    with contextlib.chdir(folder):
        yield folder


def run(command: str) -> tuple[int, str, str]:
    """Status, output and errors of a command in this process; what it raises is a traceback."""
    status: Any = 0
    with (
        contextlib.redirect_stdout(io.StringIO()) as output,
        contextlib.redirect_stderr(io.StringIO()) as errors,
    ):
        try:
            cli.main(command.split())
        except SystemExit as error:
            status = error.code
    return status or 0, output.getvalue(), errors.getvalue()


def files_of(folder: Path) -> dict[Path, bytes]:
    """All files but git's own, with what is in them."""
    paths = [path for path in sorted(folder.rglob("*")) if ".git" not in path.parts]
    return {path: path.read_bytes() for path in paths if path.is_file()}


FILES: dict[str, str] = {
    "run.json": "run",
    f"{STORED}": "stored",
    f"{STORED.with_suffix('.ranks.json')}": "stored",
    f"{STORED.with_suffix('.times.json')}": "stored",
    "baselines/tolerances.toml": "tolerances",
}
each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: Path(file).name)


@each_file
def test_a_byte_that_is_no_utf_8_is_one_line_that_names_the_file(file: str, worktree: Path) -> None:
    path = worktree / file
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + b"\xff" + whole[len(whole) // 2 :])
    for command, files in READ.items():
        status, _, errors = run(command)
        if FILES[file] in files:
            assert status == 2, command
            assert path.name in errors
            assert "restore it from git" in errors
            assert len(errors.splitlines()) == 1
        else:
            assert status != 2, command


@each_file
def test_commands_end_with_a_status_and_a_line(file: str, worktree: Path) -> None:
    path = worktree / file
    whole = path.read_bytes()
    damage = damaged_toml if path.suffix == ".toml" else damaged_json

    @damages
    @given(content=damage(whole), command=st.sampled_from(COMMANDS))
    def check(content: bytes, command: str) -> None:
        path.write_bytes(content)
        before = files_of(worktree)
        status, _, errors = run(command)
        assert status in (0, 1, 2, 3)
        if status == 2:
            assert errors.startswith("qmodels: ")
            assert errors.count("\n") == 1
        if status or not command.startswith("baseline accept"):
            assert files_of(worktree) == before
        for other, kept in before.items():
            other.write_bytes(kept)

    check()


def refused_or_read(read: Callable[[], object]) -> None:
    """Whatever reads a damaged file refuses it in one line, or finds nothing wrong."""
    line = ""
    try:
        read()
    except UserError as error:
        line = str(error)
    assert "\n" not in line


def test_an_index_of_checkpoints_is_read_or_refused(tmp_path: Path) -> None:
    index = checkpoints.shipped_dirs()[0] / checkpoints.INDEX

    @damages
    @given(content=damaged_json(index.read_bytes()))
    def check(content: bytes) -> None:
        (tmp_path / checkpoints.INDEX).write_bytes(content)
        refused_or_read(lambda: checkpoints.read_index(tmp_path))

    check()


def test_an_artifact_is_loaded_or_refused(tmp_path: Path, small_network: Network) -> None:
    built = variants.build(variants.all_variants()["fp32"], small_network)
    folder = tmp_path / built.folder.name
    shutil.copytree(built.folder, folder)

    @damages
    @given(content=damaged_json((folder / store.MANIFEST).read_bytes()))
    def check(content: bytes) -> None:
        (folder / store.MANIFEST).write_bytes(content)
        refused_or_read(lambda: open_artifact(folder).load())

    check()


ANSWERS: dict[type, dict[str, Any]] = {
    Hello: {
        "version": "0.1.0",
        "file": None,
        "variants": ["fp32", "onnx-int8"],
        "conditions": {"machine_class": "c", "versions": {"torch": "2.15.0"}, "isa": {}},
    },
    BuildResult: {"folders": {"fp32": "/a"}, "failures": {"bf16": "bf16: no compiler"}},
    BuildRequest: {"network": {"function": "a:b", "arguments": {"width": 8}}, "variants": ["fp32"]},
    VisitRequest: {"model": "fp32", "batch_size": 1, "untimed": 1, "timed": 9, "cpus": [0, 1]},
    Visited: {"seconds": [0.01, 0.011]},
}


@pytest.mark.parametrize("kind", ANSWERS, ids=lambda kind: kind.__name__)
def test_an_answer_is_decoded_or_refused(kind: type) -> None:
    @damages
    @given(content=damaged_json(json.dumps(ANSWERS[kind]).encode()))
    def check(content: bytes) -> None:
        refused_or_read(lambda: codec.decode(kind, codec.parse_json(content)))

    check()
    assert json.loads(json.dumps(codec.encode(codec.decode(kind, ANSWERS[kind])))) == ANSWERS[kind]
