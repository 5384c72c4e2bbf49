"""What the process that makes artifacts says where it can't, and what becomes of it."""

import dataclasses
from pathlib import Path

import pytest
from torch import nn

from qmodels import variants
from qmodels.backends import eager, inductor
from qmodels.network import Network
from qmodels.system import files
from qmodels.system.errors import Unavailable, UserError
from qmodels.variants import build_worker, registry


def answer(name: str, network: Network, folder: Path) -> dict[str, str]:
    variant = registry.find(name, __name__)
    return build_worker.answer(
        {
            "variant": name,
            "module": __name__,
            "network": dataclasses.asdict(network.call),
            "contents": build_worker.contents(variant, network),
            "folder": str(folder),
        }
    )


def test_it_tells_what_is_unavailable_from_what_failed(
    small_network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[Exception] = []

    def mine(model: nn.Module) -> nn.Module:
        if errors:
            raise errors[0]
        return model

    variant = variants.Variant(mine, eager.BACKEND, "")
    monkeypatch.setattr(registry, "find", lambda name, module: variant)
    assert answer("mine", small_network, tmp_path) == {}
    errors[:] = [Unavailable("mine: choose resnet34")]
    assert answer("mine", small_network, tmp_path) == {"unavailable": "mine: choose resnet34"}
    errors[:] = [UserError("the runtime refused: update it")]
    line = "mine can't be built: the runtime refused: update it"
    assert answer("mine", small_network, tmp_path) == {"failed": line}
    errors[:] = [IndexError()]
    line = f"mine can't be built (IndexError: IndexError): fix {__name__}, or leave"
    assert answer("mine", small_network, tmp_path)["failed"].startswith(line)


def test_a_process_that_dies_is_one_line(small_network: Network) -> None:
    def mine(model: nn.Module) -> nn.Module:
        return model

    variant = variants.Variant(
        mine, inductor.BACKEND, "known here alone", requires=inductor.BACKEND.requires
    )
    with pytest.raises(UserError) as caught:
        variants.build(variant, small_network)
    said = str(caught.value)
    assert said.startswith("mine can't be built (qmodels.variants.build_worker failed in ")
    assert said.endswith(f"): fix {__name__}, or leave the variant out")
    assert "\n" not in said


def fails(model: nn.Module) -> nn.Module:
    raise ValueError("no such layer\nand a page of it")


def test_a_quantizer_that_raises_is_one_line(small_network: Network) -> None:
    failing = dataclasses.replace(variants.all_variants()["fp32"], quantize=fails)
    with pytest.raises(UserError) as caught:
        variants.build(failing, small_network)
    assert str(caught.value) == (
        f"fails can't be built (ValueError: no such layer): fix {fails.__module__}, "
        "or leave the variant out"
    )


@pytest.mark.parametrize(
    ("error", "fewest_free_bytes"),
    [(OSError(28, "No space left on device"), 0), (RuntimeError("iostream error"), 2**60)],
)
def test_a_full_disk_is_one_line(
    error: Exception,
    fewest_free_bytes: int,
    small_network: Network,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Full(eager.Eager):
        def save(self, model: nn.Module, folder: Path) -> None:
            raise error

    monkeypatch.setattr(files, "FULL", fewest_free_bytes)
    broken = dataclasses.replace(variants.all_variants()["fp32"], backend=Full())
    with pytest.raises(UserError, match=r"^fp32 can't be built \(.*Error: .*\): free the disk"):
        variants.build(broken, small_network)


def test_what_a_runtime_or_the_network_refuses_is_told_apart(small_network: Network) -> None:
    def refuses(model: nn.Module) -> nn.Module:
        raise Unavailable("mine has no such blocks: choose resnet34")

    fp32 = variants.all_variants()["fp32"]
    with pytest.raises(Unavailable, match="^mine has no such blocks: choose resnet34$"):
        variants.build(dataclasses.replace(fp32, quantize=refuses), small_network)
