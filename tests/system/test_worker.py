import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from qmodels.system import worker
from qmodels.system.checkout import Checkout
from qmodels.system.errors import UserError

ECHO = """
    import os
    import subprocess
    import sys
    import tempfile
    import time
    from qmodels.system.errors import UserError
    from qmodels.system.worker import serve

    def answer(request):
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

    serve(answer)
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    (tmp_path / "echo.py").write_text(textwrap.dedent(ECHO))
    return Checkout(tmp_path, Path(sys.executable))


def test_a_child_answers_until_the_block_ends(checkout: Checkout) -> None:
    with worker.start("echo", checkout=checkout) as echo:
        assert echo.request({"a": [1, None]}) == {"a": [1, None]}
        assert echo.request("again") == "again"
        assert echo.request("chatter") == "chatter"
        assert echo.request("variable") is None
        assert echo.request("arguments") == []
    assert echo.process.poll() is not None
    environment = {"QMODELS_ECHO": "loud"}
    with worker.start("echo", "aloud", checkout=checkout, environment=environment) as echo:
        assert echo.request("variable") == "loud"
        assert echo.request("arguments") == ["aloud"]


def test_a_child_has_the_folders_of_its_parent(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("QMODELS_CACHE_DIR", "cache")
    with worker.start("echo", checkout=checkout) as echo:
        assert echo.request("cache") == str(elsewhere / "cache")


def test_what_a_child_leaves_behind_is_removed(checkout: Checkout) -> None:
    with worker.start("echo", checkout=checkout) as echo:
        left = Path(echo.request("temporary"))
        assert left.is_dir()
    assert not left.exists()
    assert not left.parent.exists()


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
        grandchild = echo.request("grandchild")
        with pytest.raises(UserError, match=r"echo failed in .*: no answer within 0.5 s"):
            echo.request("hang", limit=0.5)
        with pytest.raises(UserError, match="echo failed in"):
            echo.request("again")
    deadline = time.monotonic() + 10
    while running(grandchild) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(grandchild)


def running(pid: int) -> bool:
    """Whether a process has not ended; one that nobody has waited for has."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


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
        echo.request(request_)
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
        ids = [child.process.pid, child.request("grandchild")]
        print(*ids, child.request("temporary"), flush=True)
        child.request("hang")
"""


def runs(pid: str) -> bool:
    """Whether a process runs; one that ended may still be listed."""
    try:
        return psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


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
    deadline = time.monotonic() + 10
    while any(map(runs, ids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(filter(runs, ids)) == []
    assert not Path(folder).parent.exists()


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
    assert ended.stdout == '"slow"\n'
