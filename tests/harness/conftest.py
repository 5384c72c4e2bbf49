"""A user's repository, and runs of the packaged benches in it, in this process."""

import gc
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from qmodels import gate
from qmodels.system import files, machine
from qmodels.variants import all_variants
from tests.harness.planting import PLAIN, SHORT, TOLERANCES, UPDATE, Result
from tests.outside import install

NETWORK = "digits-resnet34-w8"


class Kept:
    """A plugin that keeps what runs import: pytester drops it, and torch can be loaded once."""

    def __init__(self, temporary: Path) -> None:
        self.temporary = temporary
        self.modules: dict[str, ModuleType] = {}

    def pytest_unconfigure(self) -> None:
        """Note what a run leaves, but for the code of repositories and qmodels."""
        for name, module in sys.modules.items():
            own = self.temporary in Path(getattr(module, "__file__", None) or "/").parents
            if not own and name.partition(".")[0] != "qmodels":
                self.modules[name] = module

    def restore(self) -> None:
        """Put it back."""
        sys.modules.update({**self.modules, **sys.modules})


@pytest.fixture
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """What runs import; it ends after pytester, where a fixture asks for it first."""
    # pytester drops what is imported after this, and no variant can be defined twice.
    all_variants()
    # Benches collect garbage before they measure. It takes long where many objects stay alive.
    gc.collect()
    gc.freeze()
    modules = Kept(tmp_path_factory.getbasetemp())
    yield modules
    modules.restore()
    gc.unfreeze()


class Repository:
    """A folder with a variant `planted` of its own.

    Attributes:
        folder: pytest's root directory; it is the working directory.
        baseline: the file of the stored run, if there is one.
    """

    def __init__(
        self, kept: Kept, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.kept, self.pytester, self.monkeypatch = kept, pytester, monkeypatch
        self.folder = pytester.path
        self.baseline = gate.baseline_path(
            self.folder / "baselines", machine.machine_class(), NETWORK
        )
        install(self.folder, "planted", PLAIN)
        (self.folder / "short.py").write_text(SHORT)
        (self.folder / "baselines").mkdir()
        (self.folder / "baselines" / "tolerances.toml").write_text(TOLERANCES)

    def plant(self, variants: str) -> None:
        """Have the repository define these variants."""
        (self.folder / "planted.py").write_text(variants)

    def run(
        self, *arguments: str, variants: str | None = "fp32,planted", **environment: str
    ) -> Result:
        """Run the packaged benches on the digits, as a new process would."""
        options = [] if variants is None else [f"--qmodels-variants={variants}"]
        return self.pytest(
            *("--pyargs", "qmodels.benches", "-p", "short", "--qmodels-dataset=digits"),
            *options,
            *arguments,
            **environment,
        )

    def pytest(self, *arguments: str, **environment: str) -> Result:
        """Run pytest in this process, with qmodels imported anew, but for its foundations."""
        with self.monkeypatch.context() as patch:
            for name in list(sys.modules):
                if name.split(".")[0] == "qmodels" and name.split(".")[1:2] != ["system"]:
                    patch.delitem(sys.modules, name)
            patch.syspath_prepend(self.folder)
            patch.setenv("PYTHONPATH", str(self.folder))
            for name in ("CI", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
                patch.delenv(name, raising=False)
            for name, value in environment.items():
                patch.setenv(name, value)
            ran = self.pytester.runpytest_inprocess(*arguments, plugins=[self.kept])
        self.kept.restore()
        return Result(int(ran.ret), unwrapped(f"{ran.stdout}\n{ran.stderr}"))


def unwrapped(printed: str) -> str:
    """What was printed, with the lines of the last section as long as they were meant.

    There, none is longer than 100 columns, but for a path.
    """
    before, heading, last = printed.partition("= qmodels: ")
    last, summary, after = last.partition("= short test summary")
    for line in last.splitlines()[1:-1]:
        is_pytests = line.startswith("! ")
        assert is_pytests or len(line) <= 100 or max(map(len, line.split())) > 80, line
    return before + heading + re.sub(r"\n {9}(?=\S)", " ", last) + summary + after


@pytest.fixture
def repository(
    kept: Kept, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> Repository:
    """A user's repository without stored runs."""
    return Repository(kept, pytester, monkeypatch)


@pytest.fixture
def stored(repository: Repository, cache: Path) -> Repository:
    """A user's repository with a stored run of its variants, made once for all tests."""
    shared = cache / "stored-run"
    with files.lock(shared):
        if not shared.exists():
            result = repository.run(UPDATE)
            assert result.status == 0, result.printed
            assert "baseline updated" in result.printed
            shutil.copytree(repository.baseline.parent, shared)
    shutil.copytree(shared, repository.baseline.parent, dirs_exist_ok=True)
    return repository
