"""A copy of the repository, and runs of `pytest benches` in it."""

import gc
import multiprocessing
import os
import pty
import re
import shutil
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from qmodels import gate
from qmodels.system import machine, store
from tests.harness.planting import (
    ESCAPE,
    PLAIN,
    ROOT,
    SHORT,
    UPDATE,
    Result,
    Run,
    plant,
)

# Modules that the copy keeps of the package's variants.
KEPT = ("__init__", "artifact", "build_worker", "cuda", "registry")


@contextmanager
def written_to(printed: Path, *, terminal: bool) -> Iterator[None]:
    """Write what the block prints to a file; where asked, by way of a terminal of 100 columns."""
    with printed.open("wb") as stream:
        reader, output = pty.openpty() if terminal else (None, stream.fileno())

        def copy() -> None:
            with suppress(OSError):  # at the end, when nobody writes any more
                while reader is not None:
                    stream.write(os.read(reader, 4096))

        thread = threading.Thread(target=copy, daemon=True)
        thread.start()
        if terminal:
            termios.tcsetwinsize(output, (40, 100))
        os.dup2(output, 1)
        os.dup2(output, 2)
        try:
            yield
        finally:
            if terminal:
                sys.stdout.flush()  # before its descriptor leads elsewhere
                os.close(output)
                for descriptor in (1, 2):
                    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
                thread.join(timeout=10)


def run_pytest(
    folder: Path,
    arguments: list[str],
    environment: dict[str, str],
    printed: Path,
    terminal: bool,
) -> None:
    """Run pytest in this process as a user would in that folder."""
    os.chdir(folder)
    for name in [name for name in os.environ if name == "CI" or name.startswith("PYTEST_XDIST")]:
        del os.environ[name]
    os.environ.update({"PYTHONPATH": str(folder), **environment})
    sys.path[:] = [str(folder), *(path for path in sys.path if Path(path) != ROOT)]
    for name in [name for name in sys.modules if name.partition(".")[0] in ("qmodels", "conftest")]:
        del sys.modules[name]
    gc.freeze()  # garbage collection then skips what was imported before the fork
    with written_to(printed, terminal=terminal):
        status = pytest.main(arguments)
    sys.exit(int(status))


def unwrapped(printed: str) -> str:
    """What was printed, with the lines of the last section as long as they were meant.

    There, none is longer than 100 columns, but for a path.
    """
    before, heading, last = printed.partition("= qmodels: ")
    last, summary, after = last.partition("= short test summary")
    for line in ESCAPE.sub("", last).splitlines()[1:-1]:
        is_pytests = line.startswith("! ")
        assert is_pytests or len(line) <= 100 or max(map(len, line.split())) > 80, line
    return before + heading + re.sub(r"\n {9}(?=\S)", " ", last) + summary + after


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the harness needs."""
    folder = tmp_path_factory.mktemp("repository")
    for name in ("qmodels", "benches"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "baselines").mkdir()
    for path in (folder / "qmodels" / "variants").glob("*.py"):
        if path.stem not in KEPT:
            path.unlink()
    plant(folder, PLAIN)
    tolerances = folder / "qmodels" / "gate" / "tolerances.toml"
    tolerances.write_text(adapt(tolerances.read_text()))
    (folder / "short.py").write_text(SHORT)
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    return folder


def adapt(tolerances: str) -> str:
    """Tolerances for the variants of the copy, and for latencies of a few short processes."""
    others = re.compile(r"^\[\w+\.variants\.(?!fp32\])[^[]*", re.MULTILINE)
    text = others.sub("", tolerances)
    for table, limits in (
        ("latency_change", "tolerance = 1.0"),
        ("latency_ratio", "tolerance = 1.0"),
        ("probe_ratio.variants.fp32", "tolerance = 1.0"),
        ("memory_bytes", "tolerance = 0.03\nother_host = 0.2"),
    ):
        of_table = re.compile(rf"(?<=^\[{re.escape(table)}\]\n)[^[]*", re.MULTILINE)
        text, count = of_table.subn(f"{limits}\n\n", text)
        assert count == 1
    return text


@pytest.fixture(scope="session")
def run(repository: Path, cache: Path) -> Run:
    """Run `pytest` there on the digits, with the variants and the plugin that a test plants."""

    # Each run is a fresh process, forked from one that has imported torch and nothing of ours.
    context = multiprocessing.get_context("forkserver")
    torch_modules = ["torch._dynamo", "torch.ao.quantization", "torch.profiler"]
    others = ["scipy.special", "sklearn.datasets", "pytest", "hypothesis"]
    context.set_forkserver_preload([*torch_modules, *others])

    def pytest_in_copy(
        *arguments: str,
        planted: str = PLAIN,
        plugin: str = "",
        terminal: bool = False,
        **environment: str,
    ) -> Result:
        plant(repository, planted)
        (repository / "own_plugin.py").write_text(plugin)
        arguments = ("-p", "short", "-p", "own_plugin", *arguments)
        printed = repository / "printed"
        child = context.Process(
            target=run_pytest,
            args=(
                repository,
                ["--qmodels-dataset=digits", *arguments],
                environment,
                printed,
                terminal,
            ),
        )
        child.start()
        child.join()
        return Result(child.exitcode or 0, unwrapped(printed.read_text()))

    return pytest_in_copy


@pytest.fixture(scope="session")
def baseline(repository: Path, run: Run, cache: Path) -> Path:
    """The baseline that the first run stores. Each pytest-xdist worker has a copy."""
    path = gate.baseline_path(
        repository / "baselines", machine.machine_class(), "digits-resnet34-w8"
    )
    stored = cache / "harness-baseline"
    with store.lock(stored):
        if not stored.exists():
            stored_run = run("benches", UPDATE)
            assert stored_run.returncode == 0, stored_run.stdout
            assert "baseline updated" in stored_run.stdout
            shutil.copytree(path.parent, stored)
    shutil.copytree(stored, path.parent, dirs_exist_ok=True)
    return path
