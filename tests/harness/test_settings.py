"""What a run measures: weights and options, and those that end it in a line."""

import dataclasses
from pathlib import Path

import pytest
import torch

from qmodels.training import checkpoints
from tests.harness.planting import UPDATE, VARIANTS, Run, assert_red


def test_other_weights_have_no_stored_run(run: Run, baseline: Path, repository: Path) -> None:
    shipped = repository / "qmodels" / "training" / "checkpoint_files"
    kept = {path: path.read_bytes() for path in shipped.iterdir()}
    (digits_checkpoint,) = [
        checkpoint
        for checkpoint in checkpoints.read_index(shipped)
        if checkpoint.dataset == "digits" and checkpoint.parent is None
    ]
    model = checkpoints.load_model(digits_checkpoint)
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.data += 0.5 * parameter.std() * torch.randn_like(parameter)
    other = checkpoints.save(
        model.state_dict(), dataclasses.replace(digits_checkpoint, folder=shipped)
    )
    try:
        result = run("benches/bench_accuracy.py", VARIANTS, CI="true")
        named = run("benches/bench_size.py", VARIANTS, "--qmodels-checkpoint", other.path.stem)
    finally:
        for path, content in kept.items():
            path.write_bytes(content)
    said = f"No run is stored for digits-resnet34-w8 of {other.digest}"
    assert_red(result, said, "baseline: none: no stored run of these weights fits")
    assert other.digest != digits_checkpoint.digest
    assert named.returncode == 0
    assert f"checkpoint: {other.path.stem}, top-1 {other.top1:.2f} %" in named.stdout


def test_what_was_trained_later_does_not_replace_the_shipped_weights(
    run: Run, baseline: Path, repository: Path, tmp_path: Path
) -> None:
    shipped = repository / "qmodels" / "training" / "checkpoint_files"
    (digits_checkpoint,) = [
        checkpoint
        for checkpoint in checkpoints.read_index(shipped)
        if checkpoint.dataset == "digits" and checkpoint.parent is None
    ]
    folder = tmp_path / "checkpoints"
    later = dataclasses.replace(
        digits_checkpoint, folder=folder, file="later.safetensors", top1=11.0
    )
    later = checkpoints.save(checkpoints.load_model(digits_checkpoint).state_dict(), later)
    size = ("benches/bench_size.py", "--qmodels-variants=fp32")
    cache = {"QMODELS_CACHE_DIR": str(tmp_path), "CI": "true"}
    default, named = run(*size, **cache), run(*size, "--qmodels-checkpoint=later", **cache)
    assert default.returncode == 0, default.stdout
    assert f"checkpoint: {digits_checkpoint.path.stem}" in default.stdout
    assert "checkpoint: later, top-1 11.00 %" in named.stdout


def test_no_checkpoint_ends_the_session_with_the_command_that_trains_it(run: Run) -> None:
    result = run("benches/bench_size.py", "--qmodels-width=24")
    assert result.returncode == 2
    assert (
        result.stdout.count("qmodels train --dataset digits --architecture resnet34 --width 24")
        == 1
    )
    assert "Traceback" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--qmodels-variants=fp32,int3", "unknown variant 'int3'"),
        ("--qmodels-architecture=vgg", "unknown architecture 'vgg'"),
        ("--qmodels-dataset=imagenet", "unknown data set 'imagenet'"),
        ("--qmodels-width=0", "width 0"),
        ("--qmodels-threads=0", "--qmodels-threads 0"),
        ("--qmodels-accuracy-images=few", "--qmodels-accuracy-images few"),
        ("--benchmark-compare benches", "put it after the paths"),
        ("--qmodels-base=no-such-branch", "neither a folder nor a commit"),
        ("--benchmark-json=nowhere/run.json", "its folder does not exist: make it"),
    ],
)
def test_bad_options_are_one_line(
    arguments: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process, which has torch: pytest can be called as often as one likes."""
    monkeypatch.delenv("CI", raising=False)
    status = pytest.main(["-p", "no:cacheprovider", "benches", *arguments.split()])
    printed = capsys.readouterr()
    assert status == pytest.ExitCode.USAGE_ERROR
    assert said in printed.err
    assert "Traceback" not in printed.out + printed.err


@pytest.mark.parametrize(
    "option", ["--qmodels-base=benches", "--qmodels-accuracy-images=9", "--benchmark-disable"]
)
def test_only_whole_runs_are_stored(
    option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CI", raising=False)
    status = pytest.main(["-p", "no:cacheprovider", "benches", UPDATE, option])
    assert status == pytest.ExitCode.USAGE_ERROR
    assert f"leave out {option.partition('=')[0]}" in capsys.readouterr().err
