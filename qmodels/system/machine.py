"""This machine and its abilities: machine class, processor, GPU."""

import hashlib
import os
import platform
import shutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from qmodels import __version__
from qmodels.system import packages
from qmodels.system.errors import UserError

if TYPE_CHECKING:  # reports do without it, and it takes seconds to import
    import torch

# Instruction sets, the best first, and the flags that each needs. A processor belongs to the first
# whose flags it has. Each step changes which kernels run, and so what int8 computes.
X86_LEVELS = {
    "amx": ("amx_int8", "amx_bf16"),
    "avx512_bf16": ("avx512_vnni", "avx512_bf16"),
    "avx512_vnni": ("avx512_vnni",),
    "avx2_vnni": ("avx_vnni",),
    "avx512": ("avx512f",),
    "avx2": ("avx2",),
}
ARM_LEVELS = {"i8mm": ("i8mm", "bf16"), "dotprod": ("asimddp",), "neon": ("asimd",)}
_BFLOAT16_LEVELS = ("amx", "avx512_bf16", "i8mm")
# Of control groups: microseconds of processor time in each period of microseconds.
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
# By which OpenMP binds the threads of a process to processors. Its children inherit that.
BINDING = ("OMP_PROC_BIND", "GOMP_CPU_AFFINITY", "KMP_AFFINITY")
# OpenMP lowers the threads of a process to this number, without an error.
THREAD_LIMIT = "OMP_THREAD_LIMIT"
_RECORDED_PACKAGES = ("torch", "torchvision", "numpy", "pytest-benchmark")


@cache
def machine_class() -> str:
    """Operating system, architecture and instruction set, as ``linux-x86_64-avx2``.

    int8 results, unlike float ones, depend on the instruction set beyond rounding: without VNNI,
    sums saturate. Never names the host.
    """
    architecture = platform.machine().lower()
    return f"{platform.system().lower()}-{architecture}-{instruction_set()}"


def instruction_set() -> str:
    """The best level of ``X86_LEVELS`` or ``ARM_LEVELS`` that this processor has, or "baseline"."""
    levels = X86_LEVELS if platform.machine().lower() in ("x86_64", "amd64") else ARM_LEVELS
    flags = cpu_flags()
    return next((name for name, needed in levels.items() if flags.issuperset(needed)), "baseline")


def gpu_class() -> str | None:
    """The kind of this machine's first NVIDIA GPU by what it can compute, as ``cuda-sm90``.

    What kernels and their results depend on; None without one, or where torch can't use it.
    """
    import torch

    # AMD's GPUs call themselves CUDA in torch, and have other kernels.
    if torch.version.hip or not torch.cuda.is_available():
        return None
    major, minor = torch.cuda.get_device_capability()
    return f"cuda-sm{major}{minor}"


def gpu_name() -> str | None:
    """The driver's name of this machine's first NVIDIA GPU; None where ``gpu_class`` is."""
    import torch

    return None if gpu_class() is None else torch.cuda.get_device_name()


def host() -> str:
    """An opaque digest of this boot of this machine, which names nothing.

    Two runs have it in common only where the same hardware and kernel ran both. Network cards and
    clocks don't count: both change while a machine runs.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8")
    except OSError:  # as on macOS
        boot = f"{platform.node()} {platform.version()}"
    known = f"{boot.strip()} {processor()} {psutil.cpu_count()}"
    return hashlib.sha256(known.encode()).hexdigest()[:16]


def processor() -> str:
    """The processor's model, as its maker numbers it: on x86 vendor, family and model."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or "unknown"
    lines = (line.partition(":") for line in text.splitlines())
    values = {name.strip(): value.strip() for name, _, value in lines}
    names = ("vendor_id", "cpu family", "model", "CPU implementer", "CPU part")
    return " ".join(values[name] for name in names if name in values) or "unknown"


def cpu_flags() -> frozenset[str]:
    """The processor's feature flags, in the names that Linux gives them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        flags = {
            flag
            for line in lines
            if line.startswith(("flags", "Features"))
            for flag in line.partition(":")[2].split()
        }
        return frozenset(flags)
    except OSError:
        import cpuinfo  # comes with pytest-benchmark; slow: it starts processes

        return frozenset(cpuinfo.get_cpu_info().get("flags", ()))


def usable_cpus() -> list[int]:
    """The processors that this process may use; empty where the system has no affinity."""
    process = psutil.Process()
    return process.cpu_affinity() if hasattr(process, "cpu_affinity") else []


def _most_threads() -> int:
    """How many threads can run at once: the processors, or the CPU quota where that is less."""
    cpus = len(usable_cpus()) or psutil.cpu_count() or 1
    try:
        quota, period = CPU_QUOTA.read_text(encoding="utf-8").split()
        return min(cpus, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file, or "max"
        return cpus


def check_threads(option: str, threads: int) -> None:
    """Refuse a number of threads that can't run at once."""
    if threads < 1:
        raise UserError(f"{option} {threads}: choose 1 or more")
    most = _most_threads()
    if threads > most:
        bound = [name for name in BINDING if os.environ.get(name, "").lower() not in ("", "false")]
        why = f" ({bound[0]} binds it: unset it)" if bound and most == 1 else ""
        count = "1 processor" if most == 1 else f"{most} processors"
        raise UserError(f"{option} {threads}: this process may use {count}{why}: choose no more")
    allowed = _thread_limit()
    if allowed and threads > allowed:
        raise UserError(
            f"{option} {threads}: {THREAD_LIMIT} is {allowed}: unset it, or choose no more"
        )


def _thread_limit() -> int:
    """The largest number of threads that OpenMP starts; 0 if nothing limits them."""
    text = os.environ.get(THREAD_LIMIT, "").strip()
    return int(text) if text.isdecimal() else 0


def physical_cores() -> int:
    """Processor cores that this process may use, hyper-threads not counted twice."""
    cores = psutil.cpu_count(logical=False) or 1
    return min(cores, _most_threads(), _thread_limit() or cores)


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for products of bfloat16."""
    return instruction_set() in _BFLOAT16_LEVELS


def compilation_pays(device: "torch.device") -> bool:
    """Whether ``torch.compile`` trains faster: on GPUs, where there is a compiler of C."""
    return device.type == "cuda" and any(shutil.which(name) for name in ("cc", "gcc", "clang"))


def versions() -> dict[str, str]:
    """Versions of Python and the packages that the numbers depend on."""
    own = {"python": platform.python_version(), "qmodels": __version__}
    return own | packages.versions(_RECORDED_PACKAGES)
