import gc
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest
import torch

from qmodels.backends.base import time_forward
from qmodels.backends.torch_engine import default_engine
from qmodels.measure import timing
from qmodels.system import worker
from qmodels.system.checkout import THIS_CHECKOUT, Checkout
from qmodels.system.errors import UserError
from tests.eager import needs_eager_quantization


def test_the_environment_sets_threads_and_stops_collection_and_puts_both_back() -> None:
    before = torch.get_num_threads()
    with timing.timing_environment(1):
        assert torch.get_num_threads() == 1
        assert not gc.isenabled()
        assert torch.is_inference_mode_enabled()
    assert torch.get_num_threads() == before
    assert gc.isenabled()


def test_no_threads_are_refused() -> None:
    with pytest.raises(UserError, match="0 threads"), timing.timing_environment(0):
        pass


def test_a_forward_takes_as_long_as_it_takes() -> None:
    assert time_forward(lambda: time.sleep(0.02)) >= 0.02


SERVE = """
    import os
    import time
    from functools import partial
    import torch
    from qmodels.base import serving
    from qmodels.measure import latency_worker
    from qmodels.system.errors import UserError

    def pid():
        torch.backends.quantized.engine = "onednn"
        torch.set_num_threads(2)
        with open(f"{os.environ['PIDS']}/{os.getpid()}", "w") as file:
            file.write(torch.backends.quantized.engine)

    def state():
        with open(f"{os.environ['PIDS']}/state", "w") as file:
            file.write(f"{torch.backends.quantized.engine} {torch.get_num_threads()}")

    def dies():
        os._exit(1)

    def raises():
        raise RuntimeError("no kernel\\nat all")

    def hangs():
        time.sleep(60)

    def damaged():
        raise UserError("its artifact is damaged")

    def always(forward, batch_size):
        return forward

    def load(request):
        known = {"pid": pid, "again": pid, "state": state}
        known |= {"dies": dies, "raises": raises, "hangs": hangs}
        loaders = {name: partial(partial, always, forward) for name, forward in known.items()}
        loaders["damaged"] = damaged
        return {name: loaders[name] for name in request["models"]}

    latency_worker.VISIT_SECONDS = 0.5
    serving.main(load)
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    (tmp_path / "serve.py").write_text(textwrap.dedent(SERVE))
    (tmp_path / "pids").mkdir()
    monkeypatch.setenv("PIDS", str(tmp_path / "pids"))
    monkeypatch.setenv("PYTHONPATH", str(THIS_CHECKOUT.root))
    return Checkout(tmp_path, Path(sys.executable))


def load(process: worker.Worker, *models: str) -> dict[str, str | None]:
    return process.request({"request": "load", "threads": 1, "models": models})


def visit(process: worker.Worker, model: str) -> list[float] | str:
    visit = {"request": "visit", "batch_size": 1, "untimed": 1, "timed": 2, "cpus": []}
    answer = process.request({**visit, "model": model})
    seconds: list[float] | str = answer["seconds"] if "seconds" in answer else answer["failure"]
    return seconds


@needs_eager_quantization
def test_models_live_apart_and_end_with_the_one_that_asks(
    checkout: Checkout, tmp_path: Path
) -> None:
    with worker.start("serve", checkout=checkout) as process:
        loaded = load(process, "pid", "again", "state")
        assert loaded == {"pid": None, "again": None, "state": None}
        for model in loaded:
            assert len(visit(process, model)) == 2
        # What the other models set in their processes is not set here.
        assert (tmp_path / "pids" / "state").read_text() == f"{default_engine()} 1"
    pids = [int(path.name) for path in (tmp_path / "pids").iterdir() if path.name.isdigit()]
    assert len(pids) == 2
    deadline = time.monotonic() + 60
    while any(psutil.pid_exists(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_model_that_fails_is_a_line_and_the_others_go_on(checkout: Checkout) -> None:
    broken = {
        "damaged": "its artifact is damaged",
        "dies": "dies: exit status 1: its runtime may be broken, see `qmodels doctor`",
        "raises": "raises: RuntimeError: no kernel",
        "hangs": "hangs: no answer within 0.5 s: its runtime may be broken, see `qmodels doctor`",
    }
    with worker.start("serve", checkout=checkout) as process:
        loaded = load(process, "state", *broken)
        assert loaded == dict.fromkeys(loaded) | {"damaged": "its artifact is damaged"}
        for _ in range(2):
            assert {model: visit(process, model) for model in broken} == broken
            assert len(visit(process, "state")) == 2
