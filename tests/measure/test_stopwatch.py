import gc
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest
import torch

from qmodels import child, machine
from qmodels.child import Checkout
from qmodels.errors import UserError
from qmodels.measure import stopwatch


def test_quiet_sets_threads_and_stops_collection_and_puts_both_back() -> None:
    before = torch.get_num_threads()
    with stopwatch.quiet(1):
        assert torch.get_num_threads() == 1
        assert not gc.isenabled()
        assert torch.is_inference_mode_enabled()
    assert torch.get_num_threads() == before
    assert gc.isenabled()


def test_no_threads_are_refused() -> None:
    with pytest.raises(UserError, match="0 threads"), stopwatch.quiet(0):
        pass


def test_a_forward_takes_as_long_as_it_takes() -> None:
    assert stopwatch.timed(lambda images: time.sleep(0.02), torch.empty(0)) >= 0.02


SERVE = """
    import os
    import torch
    from qmodels.errors import UserError
    from qmodels.measure import stopwatch

    def pid(images):
        torch.backends.quantized.engine = "onednn"
        torch.set_num_threads(2)
        with open(f"{os.environ['PIDS']}/{os.getpid()}", "w") as file:
            file.write(torch.backends.quantized.engine)
        return images

    def state(images):
        with open(f"{os.environ['PIDS']}/state", "w") as file:
            file.write(f"{torch.backends.quantized.engine} {torch.get_num_threads()}")
        return images

    def dies(images):
        os._exit(1)

    def fails():
        raise UserError("its artifact is damaged")

    def load(request):
        known = {"pid": lambda: pid, "again": lambda: pid, "state": lambda: state}
        known |= {"dies": lambda: dies, "fails": fails}
        return {name: known[name] for name in request["models"]}

    stopwatch.main(load)
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    (tmp_path / "serve.py").write_text(textwrap.dedent(SERVE))
    (tmp_path / "pids").mkdir()
    monkeypatch.setenv("PIDS", str(tmp_path / "pids"))
    monkeypatch.setenv("PYTHONPATH", str(child.HERE.root))
    return Checkout(tmp_path, Path(sys.executable))


VISIT = {"batch_size": 1, "untimed": 1, "timed": 2, "cpus": []}


def visit(process: child.Child, model: str) -> list[float]:
    seconds: list[float] = process.ask({**VISIT, "model": model})
    return seconds


def test_models_live_apart_and_end_with_the_one_that_asks(
    checkout: Checkout, tmp_path: Path
) -> None:
    with child.start("serve", checkout=checkout) as process:
        process.ask({"threads": 1, "models": ["pid", "again", "state"]})
        for model in ("pid", "again", "state"):
            assert len(visit(process, model)) == 2
        # What the other models set in their processes is not set here.
        assert (tmp_path / "pids" / "state").read_text() == f"{machine.quantized_engine()} 1"
    pids = [int(path.name) for path in (tmp_path / "pids").iterdir() if path.name.isdigit()]
    assert len(pids) == 2
    deadline = time.monotonic() + 60
    while any(psutil.pid_exists(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(psutil.pid_exists(pid) for pid in pids)


@pytest.mark.parametrize(
    ("model", "said"), [("dies", "dies died while it ran"), ("fails", "its artifact is damaged")]
)
def test_a_model_that_ends_is_one_line(checkout: Checkout, model: str, said: str) -> None:
    with child.start("serve", checkout=checkout) as process:
        if model == "dies":
            process.ask({"threads": 1, "models": [model]})
        with pytest.raises(UserError, match=said) as caught:
            process.ask({"threads": 1, "models": [model], **VISIT, "model": model})
    assert "\n" not in str(caught.value)
