"""A copy of the repository, and runs of `pytest benches` in it."""

import gc
import multiprocessing
import os
import shutil
import sys
from pathlib import Path

import pytest

from qmodels import gate
from qmodels.system import machine, store
from qmodels.training import checkpoints
from tests.harness.planting import (
    COUNTED,
    PARTIAL,
    ROOT,
    TAKEN,
    UPDATE,
    VARIANTS,
    Result,
    Run,
    edit,
)


def run_pytest(
    folder: Path, arguments: list[str], environment: dict[str, str], printed: Path
) -> None:
    """Run pytest in this process as a user would in that folder."""
    with printed.open("w") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    os.chdir(folder)
    for name in [name for name in os.environ if name == "CI" or name.startswith("PYTEST_XDIST")]:
        del os.environ[name]
    os.environ.update({"PYTHONPATH": str(folder), **environment})
    sys.path[:] = [str(folder), *(path for path in sys.path if Path(path) != ROOT)]
    for name in [name for name in sys.modules if name.partition(".")[0] in ("qmodels", "conftest")]:
        del sys.modules[name]
    gc.freeze()  # garbage collection then skips what was imported before the fork
    sys.exit(int(pytest.main(arguments)))


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the harness needs."""
    folder = tmp_path_factory.mktemp("repository")
    for name in ("qmodels", "benches"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shipped = folder / "baselines" / "checkpoints"
    shipped.mkdir(parents=True)
    for checkpoint in checkpoints.read_index(ROOT / "baselines" / "checkpoints"):
        if checkpoint.dataset == "digits":
            shutil.copy(checkpoint.path, shipped)
    shutil.copy(ROOT / "baselines" / "checkpoints" / checkpoints.INDEX, shipped)
    shutil.copy(ROOT / "baselines" / "tolerances.toml", folder / "baselines")
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    # A few short processes are enough here.
    edit(folder / "qmodels/measure/latency.py", "BUDGET_SECONDS = 1.0", "BUDGET_SECONDS = 0.2")
    edit(folder / "qmodels/gate/latency.py", "STORED_PROCESSES = 12", "STORED_PROCESSES = 2")
    sequential = folder / "qmodels/gate/sequential.py"
    edit(sequential, "Stage(first=4, most=24", "Stage(first=1, most=1")
    edit(sequential, "Stage(first=5, most=24", "Stage(first=1, most=1")
    edit(folder / "qmodels/measure/timing.py", TAKEN, COUNTED)
    return folder


@pytest.fixture(scope="session")
def run(repository: Path, cache: Path) -> Run:
    """Run `pytest` there on the digits, with a plugin where something is to be planted."""

    # Each run is a fresh process, forked from one that has imported torch and nothing of ours.
    context = multiprocessing.get_context("forkserver")
    torch_modules = ["torch._dynamo", "torch.ao.quantization", "torch.profiler"]
    others = ["scipy.special", "sklearn.datasets", "pytest", "hypothesis"]
    context.set_forkserver_preload([*torch_modules, *others])

    def pytest_in_copy(*arguments: str, plugin: str | None = None, **environment: str) -> Result:
        if plugin is not None:
            (repository / "planted.py").write_text(plugin)
            arguments = ("-p", "planted", *arguments)
        printed = repository / "printed"
        child = context.Process(
            target=run_pytest,
            args=(repository, ["--qmodels-dataset=digits", *arguments], environment, printed),
        )
        child.start()
        child.join()
        return Result(child.exitcode or 0, printed.read_text())

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
            stored_run = run("benches", VARIANTS, UPDATE)
            assert stored_run.returncode == 0, stored_run.stdout
            assert "baseline updated" in stored_run.stdout
            edit(path, PARTIAL, "")  # the other variants are none here
            shutil.copytree(path.parent, stored)
    shutil.copytree(stored, path.parent, dirs_exist_ok=True)
    return path
