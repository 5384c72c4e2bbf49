"""`qmodels.cli.main`: finding commands, help, exit statuses."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from qmodels import cli
from tests.cli.conftest import Qmodels

COMMANDS = list(cli.commands())
ROOT = Path(__file__).parents[2]


def test_every_module_is_a_command_with_help_of_one_line(qmodels: Qmodels) -> None:
    expected = "baseline build doctor layers report sensitivity serve train variants"
    assert set(expected.split()) <= set(COMMANDS)
    listed = qmodels("--help")
    assert listed.status == 0
    for summary in cli.commands().values():
        assert summary in " ".join(listed.out.split())


@pytest.mark.parametrize(
    "command", [*COMMANDS, "baseline show", "baseline diff", "baseline accept"]
)
def test_help_shows_an_example(command: str, qmodels: Qmodels) -> None:
    shown = qmodels(f"{command} --help")
    assert shown.status == 0
    assert f"example: qmodels {command}" in shown.out


def run_python(script: str, **options: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [sys.executable, "-c", script], env=environment, text=True, timeout=60, **options
    )


def test_help_imports_no_torch() -> None:
    script = "import atexit, sys; from qmodels import cli\n"
    script += "atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr))\n"
    script += "cli.main(['--help'])"
    finished = run_python(script, capture_output=True)
    assert finished.stderr == "False\n"
    assert "variants" in finished.stdout


def test_a_closed_pipe_is_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    finished = run_python(
        "from qmodels import cli; cli.main(['variants', '--json'])",
        stdout=writing,
        stderr=subprocess.PIPE,
    )
    os.close(writing)
    assert finished.stderr == ""
    assert finished.returncode == 141


def test_an_interrupt_is_one_line(qmodels: Qmodels, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "parser", lambda *name: SimpleNamespace(parse_args=interrupt))
    result = qmodels("doctor")
    assert result.status == 130
    assert result.err == "qmodels: interrupted; finished work is kept\n"


@pytest.mark.parametrize("line", ["", "quantise", "variants --jsn"])
def test_an_unknown_command_or_option_is_status_2(line: str, qmodels: Qmodels) -> None:
    assert qmodels(line).status == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("build --dataset imagenet", "unknown data set 'imagenet'"),
        ("build --dataset digits --architecture vgg", "unknown architecture 'vgg'"),
        ("build --dataset digits --width 0", "width 0"),
        ("build --dataset digits --width 40", "qmodels train --dataset digits"),
        ("build --dataset digits --variants fp32,int3", "unknown variant 'int3'"),
        ("baseline show --dataset digits --architecture vgg", "unknown architecture 'vgg'"),
        ("baseline show no-such.json", "baseline no-such.json does not exist"),
        ("train --dataset digits --width -1", "width -1"),
        ("train --dataset digits --recipe sgdr", "'sgdr' is not for this: choose from default"),
        ("train --dataset digits --recipe distill", "'distill' is not for this"),
        ("train --dataset digits --qat --recipe report", "choose from fine-tune, distill"),
        ("train --from resnet50", "no checkpoint 'resnet50': choose one of"),
        (
            "train --from digits-resnet34-w8-digits-s0 --width 4",
            "--width 4 is not that of digits-resnet34-w8-digits-s0.safetensors, 8: leave it out",
        ),
        (
            "train --from digits-resnet34-w8-digits-s0 --architecture preact_resnet34",
            "--architecture preact_resnet34 is not that of",
        ),
        ("train --from digits-resnet34-w8-digits-s0-fine-tune-int8-s0", "is quantized already"),
        ("train --dataset digits --recipe compact-cpu --epochs 2", "2 epochs are too few"),
        ("train --dataset digits --seed -1", "--seed -1: choose from 0 to 4294967295"),
        (f"train --dataset digits --seed {2**64}", f"--seed {2**64}: choose from 0 to"),
        (f"train --dataset digits --qat --seed {2**63}", f"--seed {2**63}: choose from 0 to"),
        ("layers fp32,static-int8 --dataset digits", "fp32,static-int8 are 2 variants: choose one"),
        ("layers static-int8 --dataset digits --images 0", "--images 0: choose from 1 to 596"),
        ("layers static-int8 --dataset digits --images -1", "--images -1: choose from 1 to 596"),
        ("layers static-int8 --dataset digits --images 597", "--images 597: choose from 1 to 596"),
        ("sensitivity --dataset digits --images 0", "--images 0: choose from 1 to 1000"),
        ("sensitivity --dataset digits --images -1", "--images -1: choose from 1 to 1000"),
        (
            "sensitivity --checkpoint digits-resnet34-w8-digits-s0-fine-tune-int8-s0",
            "is quantized already: name its float parent",
        ),
        ("report no-such-run.json", "no-such-run.json does not exist"),
    ],
)
def test_bad_input_is_one_line_and_status_2(line: str, message: str, qmodels: Qmodels) -> None:
    result = qmodels(line)
    assert result.status == 2
    assert message in result.err
    assert result.err.startswith("qmodels: ")
    assert result.err.count("\n") == 1
    assert result.out == ""


def test_no_home_is_one_line(tmp_path: Path) -> None:
    """As of a user id without a name in a container."""
    code = "import os; from qmodels.system import store; os.setuid(54321); store.cache_path()"
    if os.getuid() != 0:
        pytest.skip("root becomes any user")
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "UserError: no home directory is known: set QMODELS_CACHE_DIR" in ended.stderr
