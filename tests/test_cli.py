import json
from dataclasses import replace
from pathlib import Path

import pytest

from qmodels import checkpoints, cli, training
from qmodels.training import Stage


def run(*arguments: str) -> None:
    cli.main(arguments)


@pytest.mark.parametrize("command", ["doctor", "variants", "train", "build", "report"])
def test_help_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(command, "--help")
    assert caught.value.code == 0
    assert f"example: qmodels {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("build --dataset imagenet", "unknown data set 'imagenet'"),
        ("build --dataset digits --architecture vgg", "unknown architecture 'vgg'"),
        ("build --dataset digits --width 0", "width 0"),
        ("build --dataset digits --variants fp32,int3", "unknown variant 'int3'"),
        ("train --dataset digits --width -1", "width -1"),
        ("report no-such-run.json", "no-such-run.json does not exist"),
        ("build --dataset digits --width 40", "qmodels train --dataset digits"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    arguments: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*arguments.split())
    captured = capsys.readouterr()
    assert caught.value.code == 2
    assert said in captured.err
    assert captured.err.startswith("qmodels: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_doctor_and_variants_speak_json(capsys: pytest.CaptureFixture[str]) -> None:
    run("doctor", "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["machine_class"].count("-") == 2
    assert any("digits resnet34 width 8" in one for one in found["checkpoints"])
    run("variants", "--json")
    names = [one["name"] for one in json.loads(capsys.readouterr().out)]
    assert names[0] == "fp32"
    run("doctor")
    assert "machine class" in capsys.readouterr().out
    run("variants")
    assert "static-int8-jit" in capsys.readouterr().out


def test_build_says_where_the_artifacts_are(capsys: pytest.CaptureFixture[str]) -> None:
    run("build", "--dataset", "digits", "--variants", "fp32,dynamic-int8", "--json")
    built = json.loads(capsys.readouterr().out)
    assert [one["variant"] for one in built] == ["fp32", "dynamic-int8"]
    for one in built:
        files = [p for p in Path(one["folder"]).iterdir() if p.name != "manifest.json"]
        assert sum(path.stat().st_size for path in files) == one["size_bytes"]


def test_train_writes_a_checkpoint_that_build_then_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QMODELS_CACHE_DIR", str(tmp_path))
    short = replace(training.RECIPES["digits"], stages=(Stage(3, 16),))
    monkeypatch.setitem(training.RECIPES, "digits", short)
    arguments = "train --dataset digits --architecture preact_resnet34 --width 4 --seed 3 --json"
    run(*arguments.split())
    trained = json.loads(capsys.readouterr().out)
    assert trained["seed"] == 3
    assert trained["epochs"] == 3
    found = checkpoints.find("preact_resnet34", 4, "digits")
    assert found is not None
    assert (found.seed, found.top1, found.sha256) == (3, trained["top1"], trained["sha256"])
    network = "--dataset digits --architecture preact_resnet34 --width 4"
    run(*f"build {network} --variants static-int8 --json".split())
    assert json.loads(capsys.readouterr().out)[0]["size_bytes"] > 0


def test_a_run_that_is_not_ours_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.json"
    path.write_text('{"benchmarks": [{"fullname": "other", "extra_info": {}}]}')
    with pytest.raises(SystemExit):
        run("report", str(path))
    assert "damaged, or not of pytest-benchmark" in capsys.readouterr().err
