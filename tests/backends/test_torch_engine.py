"""torch's engines: which there are, and whether they saturate."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from qmodels import variants
from qmodels.backends import inductor, onednn_log, torch_engine, torchscript
from qmodels.backends.base import Backend
from qmodels.system import machine
from tests.eager import needs_eager_quantization

VNNI = {"avx512_vnni", "avx_vnni"} & machine.cpu_flags()
needs_vnni = pytest.mark.skipif(
    not VNNI, reason="needs VNNI, to compare with the same processor without"
)


@pytest.fixture(autouse=True)
def _own_machine_class() -> Iterator[None]:
    """What tests here say of the processor is not remembered."""
    yield
    machine.machine_class.cache_clear()


@pytest.mark.parametrize(
    ("processor", "flags", "fixable", "said"),
    [
        ("aarch64", {"asimd"}, False, "engine fbgemm needs an x86 processor with AVX2: use one"),
        ("x86_64", {"sse2"}, False, "engine fbgemm needs an x86 processor with AVX2: use one"),
        ("x86_64", {"avx2"}, True, "this build of torch has no quantized engine fbgemm: install"),
    ],
)
@needs_eager_quantization
def test_an_engine_that_torch_lacks_is_the_processors_fault_or_the_builds(
    processor: str, flags: set[str], fixable: bool, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch._C, "_supported_qengines", lambda: [2])  # qnnpack
    monkeypatch.setattr(platform, "machine", lambda: processor)
    monkeypatch.setattr(machine, "cpu_flags", lambda: frozenset(flags))
    obstacle = variants.all_variants()["dynamic-fp16"].obstacle()
    assert obstacle is not None
    assert obstacle.fixable == fixable
    assert obstacle.reason.startswith(said)
    assert torchscript.BACKEND.on("qnnpack").obstacle() is None


@needs_eager_quantization
def test_the_default_engine_is_one_of_torch() -> None:
    assert torch_engine.default_engine() in torch.backends.quantized.supported_engines


@pytest.mark.skipif("avx2" not in machine.cpu_flags(), reason="needs AVX2")
@pytest.mark.parametrize("flags", [machine.cpu_flags(), {"avx2"}], ids=["all", "some hidden"])
@needs_eager_quantization
def test_the_library_of_x86_is_the_one_that_runs(
    flags: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch_engine.quantized_engine("x86"):
        weight = torch.quantize_per_tensor(torch.ones(8, 8, 1, 1), 1.0, 0, torch.qint8)
        image = torch.quantize_per_tensor(torch.ones(1, 8, 4, 4), 1.0, 0, torch.quint8)
        packed = torch.ops.quantized.conv2d_prepack(weight, None, [1, 1], [0, 0], [1, 1], 1)
        log = onednn_log.logged(lambda: torch.ops.quantized.conv2d.new(image, packed, 1.0, 0))
    logged = any(primitive.int8 for primitive in onednn_log.primitives(log))
    monkeypatch.setattr(machine, "cpu_flags", lambda: frozenset(flags))
    library = torchscript.BACKEND.on("x86").kernel_library_here()
    assert library.partition(" ")[0] == ("onednn" if logged else "fbgemm")


@needs_eager_quantization
def test_the_probe_leaves_the_engine_as_it_was() -> None:
    before = torch.backends.quantized.engine
    # Some torches count the lack of an engine among them.
    for engine in set(torch.backends.quantized.supported_engines) - {"none"}:
        torch_engine.int8_saturates(engine)
    assert torch.backends.quantized.engine == before


@pytest.mark.parametrize(
    "backend",
    [torchscript.BACKEND.on("x86"), torchscript.BACKEND.on("onednn"), inductor.BACKEND],
    ids=lambda backend: backend.engine,
)
@pytest.mark.parametrize(("saturates", "weights"), [(True, (-64, 63)), (False, (-128, 127))])
def test_weights_get_seven_bits_where_the_probe_says_so(
    saturates: bool, weights: tuple[int, int], backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend is not inductor.BACKEND and backend.engine not in torch_engine.supported_engines():
        pytest.skip(f"this torch has no {backend.engine}")
    monkeypatch.setattr(torch_engine, "int8_saturates", lambda engine: saturates)
    monkeypatch.setattr(type(inductor.BACKEND), "saturates", lambda self: saturates)
    assert backend.weight_range() == weights


SATURATES = {
    "onednn": "from qmodels.backends import torch_engine; "
    "print(torch_engine.int8_saturates('onednn'))",
    "inductor": "from qmodels.backends import inductor; print(inductor.BACKEND.saturates())",
}


@needs_vnni
@pytest.mark.parametrize(
    "engine", [pytest.param("onednn", marks=needs_eager_quantization), "inductor"]
)
def test_the_probe_sees_saturation_where_vnni_is_switched_off(engine: str) -> None:
    assert engine == "inductor" or not torch_engine.int8_saturates("onednn")
    assert not inductor.BACKEND.saturates()
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-c", SATURATES[engine]]
    child = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "True"


@pytest.mark.parametrize("value", ["0", "False", "no"])
def test_without_torchscript_its_variants_are_skipped(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = variants.all_variants()
    before = known["static-int8"].obstacle()
    monkeypatch.setenv("PYTORCH_JIT", value)
    for name in ("static-int8-jit", "fx-int8", "mixed-int8"):
        said = f"PYTORCH_JIT={value} disables TorchScript: unset it"
        assert known[name].unavailable_reason() == said
    assert known["static-int8"].obstacle() == before
