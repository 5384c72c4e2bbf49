import pytest

from qmodels.gate.classes import nearest

X86 = [
    f"linux-x86_64-{level}"
    for level in ("avx2", "avx512", "avx2_vnni", "avx512_vnni", "avx512_bf16", "amx")
]


@pytest.mark.parametrize(
    ("here", "order"),
    [
        ("avx512_bf16", ["avx512_vnni", "amx", "avx2_vnni", "avx512", "avx2"]),
        ("avx2", ["avx512", "avx2_vnni", "avx512_vnni", "avx512_bf16", "amx"]),
        ("avx512", ["avx2", "avx2_vnni", "avx512_vnni", "avx512_bf16", "amx"]),
        ("avx2_vnni", ["avx512_vnni", "avx512_bf16", "amx", "avx512", "avx2"]),
    ],
)
def test_the_nearest_class_overflows_alike_and_is_the_fewest_steps_away(
    here: str, order: list[str]
) -> None:
    others = [*X86, "darwin-x86_64-avx2", "linux-aarch64-i8mm", "cuda-sm90", "checkpoints"]
    assert nearest(f"linux-x86_64-{here}", others) == [f"linux-x86_64-{level}" for level in order]


@pytest.mark.parametrize("here", ["cuda-sm90", "linux-riscv64-baseline", "linux-x86_64-avx1024"])
def test_no_class_is_near_one_of_another_architecture(here: str) -> None:
    assert nearest(here, [*X86, "cuda-sm80"]) == []
