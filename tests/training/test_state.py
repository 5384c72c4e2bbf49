import resource
import signal
from pathlib import Path

import pytest
import torch
from torch import nn

from qmodels.system.errors import UserError
from qmodels.training import ema, loop, state
from qmodels.training.distributed import Workers
from qmodels.training.recipes import RECIPES
from qmodels.training.state import State


def small(*, averaged: bool = False, device: torch.device | None = None) -> State:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(device)
    model = model.to(memory_format=torch.channels_last)
    average = ema.start(model, 3) if averaged else None
    return State(model, loop.sgd(model, RECIPES["digits"]), average)


def step(current: State) -> None:
    current.model(torch.randn(2, 3, 8, 8)).square().sum().backward()
    current.optimizer.step()
    current.optimizer.zero_grad()
    if current.average is not None:
        current.average.update_parameters(current.model)


@pytest.mark.parametrize("averaged", [False, True])
def test_everything_comes_back_to_the_bit(tmp_path: Path, averaged: bool) -> None:
    torch.manual_seed(0)
    saved, restored = small(averaged=averaged), small(averaged=averaged)
    for _ in range(2):
        step(saved)
    path = tmp_path / "state.safetensors"
    assert state.restore(path, restored) == 0
    state.save(path, saved, 7, "float32")
    assert state.restore(path, restored) == 7
    assert state.precision(path) == "float32"
    torch.manual_seed(1)
    step(saved)
    torch.manual_seed(1)
    step(restored)
    before, after = saved.tensors(), restored.tensors()
    assert before.keys() == after.keys()
    assert any(name.startswith("momentum.") for name in before)
    assert any(name.startswith("average.") for name in before) == averaged
    for name, value in before.items():
        assert torch.equal(value, after[name]), name


def test_everything_is_where_the_parameters_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """NCCL, of which the processes of several GPUs make use, sends from no other device."""
    device = torch.device("meta")
    on_device = small(averaged=True, device=device)
    sent: list[torch.device] = []
    monkeypatch.setattr(
        torch.distributed, "broadcast", lambda tensor, src: sent.append(tensor.device)
    )
    Workers(1, 2, device).broadcast(list(on_device.tensors().values()))
    assert len(sent) == len(on_device.tensors())
    assert set(sent) == {device}


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_a_damaged_state_is_refused_in_one_line(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "state.safetensors"
    state.save(path, small(averaged=damage == "cut"), 3, "float32")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match="damaged: delete it to start afresh"):
        state.restore(path, small(averaged=True))
    if damage == "cut":
        with pytest.raises(UserError, match="damaged: delete it to start afresh"):
            state.precision(path)


def test_no_space_is_one_line_and_keeps_the_last_epoch(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    current = small()
    state.save(path, current, 1, "float32")
    step(current)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(UserError, match="state.safetensors can't be written") as caught:
            state.save(path, current, 2, "float32")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "\n" not in str(caught.value)
    assert state.restore(path, small()) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["state.safetensors"]
