import os
import platform
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from qmodels import engines, machine, variants
from qmodels.obstacles import Obstacle
from qmodels.runtimes import inductor

VNNI = {"avx512_vnni", "avx_vnni"} & machine.cpu_flags()


@pytest.fixture
def broken_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package that is there and can't be imported, in ways that a test chooses."""
    package = tmp_path / "broken_runtime"
    package.mkdir()
    (package / "__init__.py").write_text(
        textwrap.dedent(
            """
            import os, signal
            how = os.environ["HOW"]
            if how == "import error":
                raise ImportError("libfoo.so.1: cannot open shared object file")
            if how == "illegal instruction":
                os.kill(os.getpid(), signal.SIGILL)
            """
        )
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "broken_runtime"


class Failing:
    """A function that fails at first."""

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = function
        self.fails = True

    def __call__(self, *arguments: Any) -> None:
        if self.fails:
            raise engines.Broken("no answer")
        self.function(*arguments)


@pytest.mark.parametrize(
    ("how", "said"),
    [("import error", "libfoo.so.1: cannot open"), ("illegal instruction", "it died of SIGILL")],
)
def test_what_kills_a_runtime_is_told_and_kills_nothing_else(
    how: str, said: str, broken_module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOW", how)
    engines.ask.cache_clear()
    verdict = engines.ask("inductor", (broken_module,))
    assert said in str(verdict.broken)
    assert "\n" not in str(verdict.broken)


def test_a_runtime_that_was_mended_is_asked_again(
    broken_module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "in_a_process", failing := Failing(engines.in_a_process))
    engines.ask.cache_clear()
    assert engines.ask("inductor", (broken_module,)).broken == "no answer"
    failing.fails = False
    monkeypatch.setenv("HOW", "works")
    engines.ask.cache_clear()
    assert engines.ask("inductor", (broken_module,)).broken is None


def test_a_variant_of_a_broken_runtime_is_missing_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        engines, "ask", lambda engine, modules: engines.Verdict("it died of SIGILL", None)
    )
    variant = variants.all_variants()["onnx-fp32"]
    monkeypatch.setattr("qmodels.variants.registry.find_spec", lambda module: object())
    assert variant.obstacle() == Obstacle(
        "onnxruntime is installed and does not work (it died of SIGILL): "
        "pip install --force-reinstall -e '.[onnx]' -c baselines/constraints.txt",
        mendable=True,
    )


def test_another_version_than_the_extra_allows_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"of": ["numpy>=2", "onnxruntime>=1.22; extra == 'onnx'"]}
    monkeypatch.setattr(engines, "requires", wanted.get)
    monkeypatch.setattr(engines, "version", lambda module: "0.9.0")
    wrong = engines.wrong_version(("onnxruntime",), "onnx", "of")
    assert wrong == "onnxruntime 0.9.0 is installed, and onnxruntime>=1.22 is needed"
    assert engines.wrong_version(("numpy",), "onnx", "of") is None
    assert engines.wrong_version(("onnxruntime",), "onnx", "another") is None


def test_run_from_its_folder_no_version_is_wrong() -> None:
    assert engines.wrong_version(("onnxruntime",), "onnx", "a-package-that-nobody-has") is None


@pytest.mark.parametrize(
    ("processor", "flags", "mendable", "said"),
    [
        ("aarch64", {"asimd"}, False, "engine fbgemm is of x86 processors with AVX2: run it on"),
        ("x86_64", {"sse2"}, False, "engine fbgemm is of x86 processors with AVX2: run it on"),
        ("x86_64", {"avx2"}, True, "this build of torch has no quantized engine fbgemm: install"),
    ],
)
def test_an_engine_that_torch_lacks_is_the_processors_fault_or_the_builds(
    processor: str, flags: set[str], mendable: bool, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch._C, "_supported_qengines", lambda: [2])  # qnnpack
    monkeypatch.setattr(platform, "machine", lambda: processor)
    monkeypatch.setattr(machine, "cpu_flags", lambda: frozenset(flags))
    obstacle = variants.all_variants()["dynamic-fp16"].obstacle()
    assert obstacle is not None
    assert obstacle.mendable == mendable
    assert obstacle.reason.startswith(said)
    assert engines.unsupported("qnnpack") is None
    assert engines.unsupported("openvino") is None


@pytest.mark.parametrize("engine", ["x86", "onednn", "inductor"])
def test_weights_get_seven_bits_where_the_probe_says_so(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for saturates, weights in ((True, (-64, 63)), (False, (-128, 127))):
        monkeypatch.setattr(machine, "int8_saturates", lambda engine, it=saturates: it)
        monkeypatch.setattr(inductor, "saturates", lambda it=saturates: it)
        if engine == "inductor" or engine in torch.backends.quantized.supported_engines:
            assert engines.weight_range(engine) == weights


@pytest.mark.skipif(not VNNI, reason="needs VNNI, to compare with the same processor without")
def test_inductors_probe_sees_saturation_where_vnni_is_switched_off() -> None:
    assert not inductor.saturates()
    script = "from qmodels.runtimes import inductor; print(inductor.saturates())"
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "PYTHONPATH": str(Path.cwd())}
    child = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert child.stdout.strip() == "True"


def test_eager_has_nothing_to_saturate() -> None:
    assert engines.ask("eager") == engines.Verdict(None, None)
    assert not engines.saturates("eager")
