"""Machine classes beside this one's: which is nearest, and what two of them compute alike.

A machine whose class has no stored run is held against that of the nearest class: of the same
system and architecture, and first those that also multiply uint8 by int8 without overflow (or also
overflow), because quantization gives weights seven bits where it would; among these the fewest
steps away in ``LADDER``, and of two as near the lower one.
"""

from collections.abc import Iterable

from qmodels.machine import ARM_LEVELS, X86_LEVELS

# From the oldest instruction set to the newest. No class is of both architectures.
LADDER = ("baseline", *reversed(ARM_LEVELS), *reversed(X86_LEVELS))
# Without VNNI, products of uint8 and int8 are added into saturating int16.
OVERFLOWING = ("baseline", "avx2", "avx512")
# torch's engine x86 calls oneDNN on Linux with these, and fbgemm elsewhere.
X86_CALLS_ONEDNN = ("avx512_vnni", "avx512_bf16", "amx")
# Of these, oneDNN's int8 kernels lay tensors out alike; those of the others take other memory.
ONEDNN_ALIKE = ("avx512_vnni", "avx512_bf16")
# Engines whose artifacts are machine code, of the processor that built them.
MACHINE_CODE = ("inductor", "tensorrt")


def nearest(machine_class: str, others: Iterable[str]) -> list[str]:
    """Those of other classes that a class can be held against, the nearest first."""
    of, _, level = machine_class.rpartition("-")

    def distance(other: str) -> tuple[bool, int, int]:
        its = other.rpartition("-")[2]
        steps = LADDER.index(its) - LADDER.index(level)
        return (its in OVERFLOWING) != (level in OVERFLOWING), abs(steps), steps

    known = {f"{of}-{one}" for one in LADDER if one != level}  # of a GPU's class there are none
    return sorted(known.intersection(others), key=distance)


def kernel_library(engine: str, machine_class: str) -> str:
    """What executes an engine's models on a class: the same name, the same counts and memory.

    Machine code is of its class alone.
    """
    linux, level = machine_class.startswith("linux-"), machine_class.rpartition("-")[2]
    if engine in MACHINE_CODE:
        return f"{engine} of {machine_class}"
    if engine == "x86" and not (linux and level in X86_CALLS_ONEDNN):
        return "fbgemm"
    if engine in ("x86", "onednn"):
        return "onednn" if level in ONEDNN_ALIKE else f"onednn of {machine_class}"
    return engine
