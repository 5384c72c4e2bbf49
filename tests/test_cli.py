import json
import os
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from qmodels import checkpoints, cli, gate, machine, variants
from qmodels.metric import measured


def run(*arguments: str) -> None:
    cli.main(arguments)


@pytest.mark.parametrize("command", ["doctor", "variants", "train", "tune", "build", "report"])
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
        ("train --dataset digits --recipe sgdr", "'sgdr' is not for this: choose from report"),
        ("train --dataset digits --recipe distill", "'distill' is not for this"),
        ("train --dataset digits --qat --recipe report", "choose from fine-tune, distill"),
        ("train --from resnet50", "no checkpoint 'resnet50': choose one of"),
        ("train --from digits-resnet34-w8-digits-s0 --width 4", "--width 4 is not that of"),
        ("train --from digits-resnet34-w8-digits-s0-fine-tune-int8-s0", "is quantized already"),
        ("train --dataset digits --recipe compact-cpu --epochs 2", "2 epochs are too few"),
        ("train --dataset digits --seed -1", "--seed -1: choose from 0 to 4294967295"),
        (f"train --dataset digits --seed {2**64}", f"--seed {2**64}: choose from 0 to"),
        (f"train --dataset digits --qat --seed {2**63}", f"--seed {2**63}: choose from 0 to"),
        ("layers fp32,static-int8 --dataset digits", "fp32,static-int8 are 2 variants: choose one"),
        ("layers static-int8 --dataset digits --images 0", "--images 0: choose from 1 to 596"),
        ("layers static-int8 --dataset digits --images -1", "--images -1: choose from 1 to 596"),
        ("layers static-int8 --dataset digits --images 597", "--images 597: choose from 1 to 596"),
        ("sensitivity --dataset digits --images 0", "--images 0: choose from 1 to 1201"),
        ("sensitivity --dataset digits --images -1", "--images -1: choose from 1 to 1201"),
        ("tune --dataset digits --seeds -1", "--seeds -1: choose 1 or more"),
        ("tune --dataset digits --seeds 0", "--seeds 0: choose 1 or more"),
        ("tune --dataset digits --ingredients salt", "unknown ingredient 'salt'"),
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
    network = "--dataset digits --architecture preact_resnet34 --width 4"
    run(*f"train {network} --seed 3 --epochs 3 --json".split())
    trained = json.loads(capsys.readouterr().out)
    assert trained["seed"] == 3
    assert trained["recipe"]["name"] == "digits-3e"
    found = checkpoints.find("preact_resnet34", 4, "digits")
    assert found is not None
    assert (found.seed, found.top1, found.sha256) == (3, trained["top1"], trained["sha256"])
    run(*f"build {network} --variants static-int8 --json".split())
    assert json.loads(capsys.readouterr().out)[0]["size_bytes"] > 0


def test_qat_and_its_control_start_from_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QMODELS_CACHE_DIR", str(tmp_path))
    shipped = checkpoints.find("resnet34", 8, "digits")
    assert shipped is not None
    run("train", "--qat", "--dataset", "digits", "--epochs", "1", "--json")
    aware = json.loads(capsys.readouterr().out)
    run("train", "--from", shipped.path.stem, "--epochs", "1", "--json")
    control = json.loads(capsys.readouterr().out)
    assert aware["parent"] == control["parent"] == shipped.sha256
    assert (aware["quantization_aware"], control["quantization_aware"]) == (True, False)
    assert aware["recipe"] == control["recipe"]
    assert min(aware["top1"], control["top1"]) > shipped.top1 - 5


def test_tune_prints_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QMODELS_CACHE_DIR", str(tmp_path))
    arguments = "tune --dataset digits --width 4 --epochs 1 --seeds 1 --ingredients averaging"
    run(*arguments.split())
    assert "| averaging |" in capsys.readouterr().out
    run(*arguments.split(), "--json")
    (effect,) = json.loads(capsys.readouterr().out)
    assert effect["ingredient"] == "averaging"


def test_a_run_that_is_not_ours_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.json"
    path.write_text('{"benchmarks": [{"fullname": "other", "extra_info": {}}]}')
    with pytest.raises(SystemExit):
        run("report", str(path))
    assert "damaged, or not of pytest-benchmark" in capsys.readouterr().err


def recorded(path: Path, **values: float) -> Path:
    """A run record of fp32's sizes and latencies, as the harness writes it."""
    about = {
        "network": "digits-resnet34-w8",
        "bench": "bench_size",
        "variant": "fp32",
        "batch_size": 1,
        "machine_class": machine.machine_class(),
        "architecture": "resnet34",
        "width": 8,
        "dataset": "digits",
        "checkpoint": "weights",
        "arithmetic": "float32",
        "versions": {"torch": "2.15.0"},
        "made": {"date": "", "commit": "", "host": "h", "versions": {"torch": "2.15.0"}},
        "metrics": {name: measured(name, value).as_record() for name, value in values.items()},
    }
    one = {
        "fullname": "benches/bench_size.py::bench_size[fp32]",
        "name": "bench_size[fp32]",
        "group": "size",
        "param": "fp32",
        "params": {"variant": "fp32"},
        "extra_info": about,
        "stats": {},
    }
    path.write_text(json.dumps({"machine_info": {"machine_class": "any"}, "benchmarks": [one]}))
    return path


@pytest.mark.parametrize("command", ["baseline diff", "report"])
@pytest.mark.parametrize(
    ("now", "status"),
    [
        ({"size_bytes": 1e6}, 0),
        ({"size_bytes": 1e6, "peak_bytes": 1.0}, 0),  # new
        ({"size_bytes": 2e6}, 1),
        ({"latency_ms": 5.0}, 3),  # nothing that is gated, and no size any more
    ],
)
def test_the_exit_status_is_the_verdict(
    command: str, now: dict[str, float], status: int, tmp_path: Path
) -> None:
    baseline = tmp_path / "baseline.json"
    before = json.loads(recorded(tmp_path / "before.json", size_bytes=1e6).read_text())
    gate.accept_into(baseline, before["benchmarks"])
    run_record = recorded(tmp_path / "run.json", **now)
    expected: AbstractContextManager[object] = nullcontext()
    if status:
        expected = pytest.raises(SystemExit, match=f"^{status}$")
    with expected:
        run(*command.split(), str(run_record), "--baseline", str(baseline))


def test_what_no_run_is_stored_for_is_no_pass(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="^3$"):
        run("report", str(recorded(tmp_path / "run.json", size_bytes=1e6)))


def test_a_closed_pipe_is_no_traceback() -> None:
    script = "import sys; from qmodels import cli; cli.main(['variants', '--json'])"
    reading, writing = os.pipe()
    os.close(reading)
    child = subprocess.run(
        [sys.executable, "-c", script],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    os.close(writing)
    assert child.stderr == ""
    assert child.returncode == 141


def test_other_weights_are_built_where_they_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QMODELS_CACHE_DIR", str(tmp_path))
    run("train", "--dataset", "digits", "--epochs", "1", "--json")
    capsys.readouterr()
    folders = []
    for more in ([], ["--checkpoint", "digits-resnet34-w8-digits-1e-s0"]):
        run("build", "--dataset", "digits", "--variants", "fp32", "--json", *more)
        folders.append(json.loads(capsys.readouterr().out)[0]["folder"])
    assert folders[0] != folders[1]


def test_a_variant_that_cannot_be_built_costs_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*inputs: object) -> None:
        raise ValueError("no such axis")

    monkeypatch.setenv("QMODELS_CACHE_DIR", str(tmp_path))
    known = variants.all_variants()
    some = [replace(known["dynamic-int8"], quantize=broken), known["fp32"]]
    monkeypatch.setattr(variants, "select", lambda names: some)
    with pytest.raises(SystemExit, match="^2$"):
        run("build", "--dataset", "digits", "--json")
    printed = capsys.readouterr()
    assert "dynamic-int8 can't be built (ValueError: no such axis)" in printed.err
    assert [one["variant"] for one in json.loads(printed.out)] == ["fp32"]
