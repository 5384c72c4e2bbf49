import platform
import shutil
import time
import uuid
from pathlib import Path

import psutil
import pytest
import torch

from qmodels.system import machine
from qmodels.system.errors import UserError


def test_machine_class_names_system_architecture_and_instructions_and_no_host() -> None:
    parts = machine.machine_class().split("-")
    assert len(parts) == 3
    assert parts[0] == platform.system().lower()
    assert platform.node() not in machine.machine_class()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (
            {"avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"},
            "linux-x86_64-amx",
        ),
        ({"avx2", "avx512f", "avx512_vnni", "avx512_bf16"}, "linux-x86_64-avx512_bf16"),
        ({"avx2", "avx512f", "avx512_vnni"}, "linux-x86_64-avx512_vnni"),
        ({"avx2", "avx_vnni"}, "linux-x86_64-avx2_vnni"),
        ({"avx2", "avx512f"}, "linux-x86_64-avx512"),
        ({"avx2"}, "linux-x86_64-avx2"),
        ({"sse2"}, "linux-x86_64-baseline"),
    ],
)
def test_the_best_instruction_set_names_the_class(
    flags: set[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "cpu_flags", lambda: frozenset(flags))
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert machine.machine_class.__wrapped__() == expected


@pytest.mark.parametrize(
    ("flags", "multiplies"),
    [({"avx512_vnni", "avx512_bf16"}, True), ({"avx512_vnni"}, False), ({"avx2"}, False)],
)
def test_the_class_tells_whether_bfloat16_is_multiplied(
    flags: set[str], multiplies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "cpu_flags", lambda: frozenset(flags))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert machine.multiplies_bfloat16() == multiplies
    assert (machine.instruction_set() == "avx512_bf16") == multiplies


@pytest.mark.parametrize(
    ("device", "compiler", "pays"),
    [("cuda", True, True), ("cuda", False, False), ("cpu", True, False)],
)
def test_compiling_pays_on_a_gpu_with_a_compiler(
    device: str, compiler: bool, pays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/cc" if compiler else None)
    assert machine.compilation_pays(torch.device(device)) == pays


@pytest.mark.parametrize(("gpu", "name"), [("cuda-sm90", "NVIDIA H100 80GB HBM3"), (None, None)])
def test_a_gpu_has_the_name_that_its_driver_gives_it(
    gpu: str | None, name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "gpu_class", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB HBM3")
    assert machine.gpu_name() == name


def test_versions_name_what_numbers_depend_on() -> None:
    versions = machine.versions()
    assert versions["torch"] == torch.__version__.partition("+")[0] or versions["torch"].startswith(
        torch.__version__.partition("+")[0]
    )
    assert versions["python"] == platform.python_version()


@pytest.mark.parametrize(
    ("available", "hip", "capability", "expected"),
    [
        (True, None, (9, 0), "cuda-sm90"),
        (True, None, (8, 9), "cuda-sm89"),
        (False, None, (9, 0), None),
        (True, "6.4", (9, 4), None),
    ],
)
def test_a_gpu_is_of_the_class_of_what_it_can_compute(
    available: bool,
    hip: str | None,
    capability: tuple[int, int],
    expected: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert machine.gpu_class() == expected


@pytest.mark.skipif(
    platform.system() != "Linux" or platform.machine() != "x86_64", reason="of x86 on Linux"
)
def test_the_processor_is_its_vendor_family_and_model() -> None:
    vendor, family, model = machine.processor().split()
    assert vendor in ("GenuineIntel", "AuthenticAMD")
    assert family.isdigit()
    assert model.isdigit()


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (uuid, "getnode", lambda: 1),  # random where there is no network card
        (time, "time", lambda: 0.0),
        (psutil, "boot_time", lambda: 0.0),  # from the clock, on macOS
    ],
)
@pytest.mark.parametrize("known", ["the boot of a kernel", "no boot"])
def test_the_host_is_the_same_whatever_changes_while_it_runs(
    module: object, name: str, value: object, known: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if known == "no boot":
        read = Path.read_text

        def refuse(path: Path, **options: str) -> str:
            if path.name == "boot_id":
                raise FileNotFoundError(path)
            return read(path, **options)

        monkeypatch.setattr(Path, "read_text", refuse)
    before = machine.host()
    monkeypatch.setattr(module, name, value)
    assert machine.host() == before


def test_another_boot_is_another_host(monkeypatch: pytest.MonkeyPatch) -> None:
    before = machine.host()
    read = Path.read_text
    monkeypatch.setattr(
        Path,
        "read_text",
        lambda path, **options: "x" if path.name == "boot_id" else read(path, **options),
    )
    assert machine.host() != before


def bound_to(cpus: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a process use these processors, and no quota."""
    monkeypatch.setattr(machine, "usable_cpus", lambda: cpus)
    monkeypatch.setattr(machine, "CPU_QUOTA", Path("no such file"))


@pytest.mark.parametrize(
    ("cpus", "quota", "most"),
    [
        ([4, 5, 6], None, 3),
        ([4, 5, 6], "max 100000", 3),
        ([4, 5, 6], "250000 100000", 2),
        ([4, 5, 6], "50000 100000", 1),
        ([4], "250000 100000", 1),
    ],
)
def test_as_many_threads_run_as_a_process_may_use_processors(
    cpus: list[int],
    quota: str | None,
    most: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    bound_to(cpus, monkeypatch)
    if quota is not None:
        monkeypatch.setattr(machine, "CPU_QUOTA", tmp_path / "cpu.max")
        (tmp_path / "cpu.max").write_text(quota + "\n")
    machine.check_threads("--threads", most)
    count = "1 processor" if most == 1 else f"{most} processors"
    for threads in (most + 1, 100_000):
        with pytest.raises(UserError, match=f"^--threads {threads}: this process may use {count}:"):
            machine.check_threads("--threads", threads)


def test_a_variable_that_binds_threads_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    bound_to([0], monkeypatch)
    for name in machine.BINDING:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match="may use 1 processor: choose no more"):
        machine.check_threads("--threads", 2)
    monkeypatch.setenv("OMP_PROC_BIND", "close")
    with pytest.raises(
        UserError, match=r"1 processor \(OMP_PROC_BIND binds it: unset it\): choose"
    ):
        machine.check_threads("--threads", 2)


@pytest.mark.parametrize("limit", ["1", " 1 "])
def test_more_threads_than_openmp_starts_are_refused(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound_to([0, 1], monkeypatch)
    monkeypatch.setenv(machine.THREAD_LIMIT, limit)
    machine.check_threads("--threads", 1)
    with pytest.raises(UserError, match=r"^--threads 2: OMP_THREAD_LIMIT is 1: unset it, or"):
        machine.check_threads("--threads", 2)
    assert machine.physical_cores() == 1
    for unlimited in ("2", "0", "many"):
        monkeypatch.setenv(machine.THREAD_LIMIT, unlimited)
        machine.check_threads("--threads", 2)
