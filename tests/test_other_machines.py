"""Faults on other people's machines, by kind: ``docs/other-machines.md``. Half a minute.

Commands run as users type them, in processes and folders of their own.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from qmodels.backends import compiler
from qmodels.system import child, worker
from tests.harness.planting import SHORT

BENCHES = "-m pytest --pyargs qmodels.benches -q -p no:cacheprovider --qmodels-dataset digits"
FP32 = f"{BENCHES} -p short --qmodels-variants fp32"
# Of a command, and until what it started has ended.
COMMAND_SECONDS = 300
END_SECONDS = 60
# Variables of tests, colors, and CI: there, a run without a stored one fails.
NOT_OURS = re.compile("PYTEST|COLOR|^PYTHONIOENCODING$|^CI$")


@dataclass(frozen=True)
class Machine:
    """A working directory, a cache and temporary files.

    Attributes:
        folder: holds them all.
    """

    folder: Path

    @property
    def temporary(self) -> Path:
        return self.folder / "temporary files"

    @contextmanager
    def start(
        self, command: str, before: str = "", **environment: str
    ) -> Iterator[subprocess.Popen[str]]:
        """Have a shell do something, and then Python run a command; it ends with the block."""
        self.temporary.mkdir(exist_ok=True)
        with (self.folder / "errors").open("w") as errors:
            process = subprocess.Popen(
                ["bash", "-c", f"{before} exec {shlex.quote(sys.executable)} {command}"],
                cwd=self.folder,
                env={
                    **{name: os.environ[name] for name in os.environ if not NOT_OURS.search(name)},
                    "PYTHONPATH": os.pathsep.join([str(self.folder), *sys.path]),
                    "PYTHONUNBUFFERED": "1",
                    "QMODELS_CACHE_DIR": str(self.folder / "a cache"),
                    "TMPDIR": str(self.temporary),
                    **environment,
                },
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            worker.end_tree(process.pid)
            process.communicate()

    def run(self, command: str, **options: str) -> subprocess.CompletedProcess[str]:
        """The ended command."""
        with self.start(command, **options) as process:
            out, _ = process.communicate(timeout=COMMAND_SECONDS)
        return subprocess.CompletedProcess(command, process.returncode, out, self.errors())

    def errors(self) -> str:
        """What the last command wrote to its standard error."""
        return (self.folder / "errors").read_text()

    def is_clean(self) -> bool:
        """Whether no temporary file is left."""
        return list(self.temporary.iterdir()) == []


@pytest.fixture
def other(tmp_path: Path) -> Machine:
    (tmp_path / "short.py").write_text(SHORT)
    return Machine(tmp_path)


def wait_until(what: str, holds: Callable[[], bool], seconds: float = END_SECONDS) -> None:
    """Wait until something holds.

    Raises:
        TimeoutError: it never does.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not {what} after {seconds} s")
        time.sleep(0.05)


def have_ended(children: list[int]) -> bool:
    """Whether no process of these runs."""
    return not any(map(child.is_running, children))


def descendants(process: subprocess.Popen[str]) -> list[int]:
    """Ids of what a process started, and of what that started."""
    return [each.pid for each in psutil.Process(process.pid).children(recursive=True)]


@pytest.mark.parametrize(
    ("moment", "timing"),
    [("checkpoint: ", False), ("baseline: ", False), ("baseline: ", True), ("gate: ", False)],
)
def test_interrupts_come_at_any_moment(other: Machine, moment: str, timing: bool) -> None:
    with other.start(f"{FP32} -k 'latency and b1'") as process:
        assert process.stdout is not None
        printed = ""
        while moment not in printed:
            character = process.stdout.read(1)
            assert character, printed + other.errors()
            printed += character
        if timing:
            wait_until("timing", lambda: bool(descendants(process)))
        children = descendants(process)
        process.send_signal(signal.SIGINT)
        printed += process.communicate(timeout=END_SECONDS)[0]
        wait_until("ended", lambda: have_ended(children))
    if moment != "gate: ":  # where nothing is left to be done, it may be too late
        assert process.returncode == pytest.ExitCode.INTERRUPTED, printed + other.errors()
        assert "KeyboardInterrupt" in printed
    assert "Traceback" not in printed
    assert other.is_clean()


@pytest.mark.skipif(compiler.path() is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_commands_are_killed_and_their_children_are_not(other: Machine, number: int) -> None:
    def has_begun() -> bool:
        """Whether there is a worker, which takes longer to answer: it has to import torch."""
        return bool(descendants(process)) and not other.is_clean()

    with other.start("-m qmodels build --dataset digits --variants fp32-compiled") as process:
        wait_until("begun", has_begun, COMMAND_SECONDS)
        children = descendants(process)
        process.send_signal(number)
        process.communicate(timeout=COMMAND_SECONDS)
        wait_until("ended", lambda: have_ended(children))
    wait_until("clean", other.is_clean)


def test_startup_files_print_paths_have_spaces_and_variables_change_python(other: Machine) -> None:
    (other.folder / "sitecustomize.py").write_text("print('welcome', flush=True)")
    ended = other.run(
        f'{FP32} -k "memory or accuracy or latency and b1"',
        COLUMNS="20",
        LC_ALL="C",
        PYTHONOPTIMIZE="2",
        PYTHONUTF8="0",
        PYTHONWARNINGS="error:::qmodels",
        TERM="dumb",
    )
    assert ended.returncode == 0, ended.stdout
    assert ended.stdout.startswith("welcome\n")
    assert "3 passed" in ended.stdout
    rule, values = ended.stdout.partition("verdict\n")[2].splitlines()[:2]
    assert set(rule) == {"?"}
    assert values.split()[:3] == ["fp32", "-", "98.99"]


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full")
def test_outputs_are_full(other: Machine) -> None:
    ended = other.run("-m qmodels baseline show > /dev/full")
    said = "qmodels: the output can't be written (No space left on device): send it elsewhere\n"
    assert (ended.returncode, ended.stderr) == (2, said)


def test_outputs_are_closed(other: Machine) -> None:
    ended = other.run("-m qmodels baseline show | true")
    assert (ended.stdout, ended.stderr) == ("", "")


@pytest.mark.parametrize("command", ["variants", "report run.json"])
def test_working_directories_are_deleted(other: Machine, command: str) -> None:
    ended = other.run(f"-m qmodels {command}", before="mkdir gone; cd gone; rmdir ../gone;")
    said = "qmodels: the working directory was deleted: change to another\n"
    assert (ended.returncode, ended.stderr) == (2, said)
