"""What a run measures: weights and options, and those that end it in a line."""

import dataclasses
import os
from pathlib import Path

import pytest
import torch

from qmodels.system import store
from qmodels.training import checkpoints
from qmodels.training.checkpoints import Checkpoint
from tests.harness.conftest import Repository
from tests.harness.planting import UPDATE, assert_red


def test_weights_are_named_and_the_shipped_ones_come_first(
    stored: Repository, digits_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was trained later has to be named, and is filed under a name of its own."""
    monkeypatch.setenv("QMODELS_CACHE_DIR", str(stored.folder / "cache"))
    model = checkpoints.load_model(digits_checkpoint)
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.data += 0.5 * parameter.std() * torch.randn_like(parameter)
    folder = store.cache_dir("checkpoints")
    later = dataclasses.replace(
        digits_checkpoint, folder=folder, file="later.safetensors", top1=11.0
    )
    checkpoints.save(model.state_dict(), later)
    default = stored.run("-k", "size", variants="fp32", CI="true")
    assert default.status == 0, default.printed
    assert f"checkpoint: {digits_checkpoint.path.stem}" in default.printed
    named = stored.run("-k", "size", "--qmodels-checkpoint=later", variants="fp32", CI="true")
    said = "No run of later is stored for"
    assert_red(named, said, "baseline: none: no stored run of later fits")
    assert "checkpoint: later, top-1 11.00 %" in named.printed


def test_no_checkpoint_ends_the_session_with_the_command_that_trains_it(
    stored: Repository,
) -> None:
    result = stored.run("-k", "size", "--qmodels-width=24")
    assert result.status == 2
    command = "qmodels train --dataset digits --architecture resnet34 --width 24"
    assert result.printed.count(command) == 1
    assert "Traceback" not in result.printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--qmodels-variants=fp32,int3", "unknown variant 'int3'"),
        ("--qmodels-architecture=vgg", "unknown architecture 'vgg'"),
        ("--qmodels-dataset=imagenet", "unknown data set 'imagenet'"),
        ("--qmodels-width=0", "width 0"),
        ("--qmodels-threads=0", "--qmodels-threads 0"),
        ("--qmodels-threads=100000", "--qmodels-threads 100000: this process may use"),
        ("--qmodels-accuracy-images=few", "--qmodels-accuracy-images few"),
        ("--benchmark-compare baselines", "put it after the paths"),
        ("--qmodels-base=no-such-branch", "neither a folder nor a commit"),
        ("--benchmark-json=nowhere/run.json", "its folder does not exist: make it"),
        (f"{UPDATE} --qmodels-accuracy-images=9", "leave out --qmodels-accuracy-images"),
        (f"{UPDATE} --benchmark-disable", "leave out --benchmark-disable"),
        ("--benchmark-disable --benchmark-histogram=h", "--benchmark-histogram is of times"),
        ("--benchmark-disable --benchmark-cprofile=ncalls", "--benchmark-cprofile is of times"),
        (f"{UPDATE} --qmodels-base=baselines", "leave out --qmodels-base"),
    ],
)
def test_bad_options_are_one_line(repository: Repository, arguments: str, said: str) -> None:
    result = repository.run(*arguments.split(), variants=None)
    assert result.status == pytest.ExitCode.USAGE_ERROR
    assert said in result.printed
    assert result.printed.count("ERROR: ") == 1
    assert "Traceback" not in result.printed


@pytest.mark.parametrize(
    "options",
    [
        "--benchmark-json=closed/run.json",
        "--benchmark-save=x --benchmark-storage=closed/runs",
        "--benchmark-autosave --benchmark-storage=file://closed",
    ],
)
def test_an_output_that_can_not_be_written_is_refused_before_the_run(
    options: str, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository.folder / "closed").mkdir()
    ask = os.access

    def closed(path: Path | str, mode: int, **options: bool) -> bool:
        return ask(path, mode, **options) and (mode == os.F_OK or "closed" not in Path(path).parts)

    monkeypatch.setattr(os, "access", closed)
    result = repository.run(*options.split(), "-k", "size")
    assert result.status == pytest.ExitCode.USAGE_ERROR
    assert "can't be written: choose another" in result.printed
    assert "1 passed" not in result.printed


def test_what_can_not_be_looked_at_is_one_line(repository: Repository) -> None:
    """A folder may be one that this user can't search."""
    (repository.folder / "broken.py").write_text(
        "import qmodels.gate\n"
        "def refuse(*arguments):\n"
        "    raise PermissionError(13, 'Permission denied', '/closed/baselines')\n"
        "qmodels.gate.find_baseline = refuse\n"
    )
    result = repository.run("-p", "broken", "-k", "size")
    assert result.status == pytest.ExitCode.USAGE_ERROR
    said = "ERROR: /closed/baselines: Permission denied: check its folder and its mode"
    assert said in result.printed
    assert "Traceback" not in result.printed


TELLING = """
from qmodels.harness.plugin import harness_of

def pytest_collection_finish(session):
    print("recompute:", harness_of(session.config).settings.recompute)
"""


@pytest.mark.parametrize(
    ("options", "recompute"),
    [
        ("", False),
        ("--benchmark-compare", False),
        ("--benchmark-json=run.json", True),
        ("--qmodels-recompute", True),
        (UPDATE, True),
        ("--benchmark-save=kept", True),
        ("--benchmark-autosave", True),
        ("--benchmark-compare --benchmark-compare-fail=median:5%", True),
    ],
)
def test_where_times_of_accuracy_are_kept_all_logits_are_computed(
    repository: Repository, options: str, recompute: bool
) -> None:
    (repository.folder / "telling.py").write_text(TELLING)
    result = repository.run("--collect-only", "-p", "telling", *options.split())
    assert f"recompute: {recompute}\n" in result.printed
