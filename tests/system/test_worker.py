import json
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from qmodels.system import child, worker
from qmodels.system.checkout import Checkout
from qmodels.system.errors import UserError

ECHO = """
    import os
    import subprocess
    import sys
    import tempfile
    import time
    from qmodels.system.errors import UserError
    from qmodels.system.child import serve

    def value(request):
        if request == "refuse":
            raise UserError("the disk is full: free it")
        if request == "crash":
            raise ValueError("a bug")
        if request == "chatter":
            print("not JSON")
            os.system("echo neither is this")
        if request == "vanish":
            os._exit(3)
        if request == "leave":
            os._exit(0)
        if request == "arguments":
            return sys.argv[1:]
        if request == "grandchild":
            return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid
        if request == "hang":
            time.sleep(60)
        if request == "slow":
            time.sleep(1.5)
        if request == "cache":
            return os.environ["QMODELS_CACHE_DIR"]
        if request == "temporary":
            folder = tempfile.mkdtemp()
            open(os.path.join(folder, "left behind"), "w").close()
            return folder
        if request == "variable":
            return os.environ.get("QMODELS_ECHO")
        return request

    serve(lambda request: {"value": value(request)})
"""


def ask(echo: worker.Worker, request: object, **options: float) -> Any:
    """What it answers."""
    return echo.request(request, **options)["value"]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    (tmp_path / "echo.py").write_text(textwrap.dedent(ECHO))
    return Checkout(tmp_path, Path(sys.executable))


@dataclass(frozen=True)
class Answer:
    """What the child of these tests answers."""

    value: tuple[int, ...]


def test_an_answer_is_decoded(checkout: Checkout) -> None:
    with worker.start("echo", checkout=checkout) as echo:
        assert echo.ask(Answer, [1, 2]) == Answer((1, 2))
        said = r"its answer is no Answer \(value\[1\]: expected a whole number, not '2'\)"
        with pytest.raises(UserError, match=f"echo failed in .*: {said}"):
            echo.ask(Answer, [1, "2"])
        assert echo.ask(Answer, []) == Answer(())


def test_a_child_answers_until_the_block_ends(checkout: Checkout) -> None:
    with worker.start("echo", checkout=checkout) as echo:
        assert ask(echo, {"a": [1, None]}) == {"a": [1, None]}
        assert ask(echo, "again") == "again"
        assert ask(echo, "chatter") == "chatter"
        assert ask(echo, "variable") is None
        assert ask(echo, "arguments") == []
    assert echo.process.poll() is not None
    environment = {"QMODELS_ECHO": "loud"}
    with worker.start("echo", "aloud", checkout=checkout, environment=environment) as echo:
        assert ask(echo, "variable") == "loud"
        assert ask(echo, "arguments") == ["aloud"]


def test_a_child_has_the_folders_of_its_parent(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("QMODELS_CACHE_DIR", "cache")
    with worker.start("echo", checkout=checkout) as echo:
        assert ask(echo, "cache") == str(elsewhere / "cache")


def test_what_a_child_leaves_behind_is_removed(checkout: Checkout) -> None:
    with worker.start("echo", checkout=checkout) as echo:
        left = Path(ask(echo, "temporary"))
        assert left.is_dir()
    assert not left.exists()
    assert not left.parent.exists()


@pytest.mark.parametrize("said", ["'warming up'", "0.5", "'{'", "[]"])
def test_what_a_python_prints_when_it_starts_is_no_answer(said: str, checkout: Checkout) -> None:
    (checkout.root / "sitecustomize.py").write_text(f"print({said})")
    with worker.start("echo", checkout=checkout) as echo:
        assert ask(echo, {"a": 1}) == {"a": 1}
        assert ask(echo, {"a": 2}) == {"a": 2}


@pytest.mark.parametrize("damage", ["gone", "not executable", "of a bad interpreter"])
def test_a_python_that_can_not_be_run_is_one_line(
    damage: str, checkout: Checkout, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    if damage != "gone":
        python.write_text("#!/no/such/python\n")
        python.chmod(0o755 if damage == "of a bad interpreter" else 0o644)
    damaged = Checkout(checkout.root, python)
    remedy = rf"^{python} can't be run \(.*\): make its environment again$"
    with pytest.raises(UserError, match=remedy), worker.start("echo", checkout=damaged):
        pass


def test_a_temporary_directory_that_cannot_be_written_is_one_line(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with (
        pytest.raises(UserError, match=r"^no temporary file .*: free the disk or set TMPDIR$"),
        worker.start("echo", checkout=checkout),
    ):
        pass


def test_a_child_that_hangs_is_ended_with_what_it_started(checkout: Checkout) -> None:
    with worker.start("echo", checkout=checkout) as echo:
        grandchild = ask(echo, "grandchild")
        with pytest.raises(UserError, match=r"echo failed in .*: no answer within 0.5 s"):
            ask(echo, "hang", timeout=0.5)
        with pytest.raises(UserError, match="echo failed in"):
            ask(echo, "again")
    deadline = time.monotonic() + 10
    while child.is_running(grandchild) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not child.is_running(grandchild)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ("refuse", "the disk is full: free it"),
        ("crash", "ValueError: a bug"),
        ("vanish", "exit status 3"),
        ("leave", "it ended without an answer"),
    ],
)
def test_what_a_child_dies_of_is_one_line(checkout: Checkout, request_: str, said: str) -> None:
    with (
        worker.start("echo", checkout=checkout) as echo,
        pytest.raises(UserError, match="echo failed in") as caught,
    ):
        ask(echo, request_)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert echo.process.poll() is not None


# Says the process ids of a worker and of what it started, and its folder; then waits for an answer.
PARENT = """
    import sys
    from pathlib import Path
    from qmodels.system import worker
    from qmodels.system.checkout import Checkout

    with worker.start("echo", checkout=Checkout(Path.cwd(), Path(sys.executable))) as child:
        ids = [child.process.pid, child.request("grandchild")["value"]]
        print(*ids, child.request("temporary")["value"], flush=True)
        child.request("hang")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_child_ends_with_a_parent_that_is_killed(number: int, checkout: Checkout) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT)],
        cwd=checkout.root,
        stdout=subprocess.PIPE,
        text=True,
        env=checkout.environment(),
    )
    with parent:
        assert parent.stdout is not None
        *ids, folder = parent.stdout.readline().split()
        assert Path(folder).exists()
        parent.send_signal(number)
    deadline = time.monotonic() + 60
    pids = list(map(int, ids))
    while any(map(child.is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(filter(child.is_running, pids)) == []
    assert not Path(folder).parent.exists()


def test_a_request_that_a_dead_child_never_reads_is_no_failure_of_its_own(
    checkout: Checkout,
) -> None:
    with worker.start("echo", checkout=checkout) as echo:
        echo.end()
        echo.process.wait()
        echo.send("again")


def test_a_child_without_more_requests_answers_the_last_one(checkout: Checkout) -> None:
    code = "import echo"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=checkout.root,
        input='"slow"\n',
        capture_output=True,
        text=True,
        check=False,
        env=checkout.environment(),
    )
    assert json.loads(ended.stdout) == {"value": "slow"}
