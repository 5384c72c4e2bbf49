"""Quantize a network and store the result; for isolated backends in a subprocess.

The first request says what to build; the answer comes when it is stored.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from qmodels import data
from qmodels.backends import torch_ao
from qmodels.network import Call, Network, open_network
from qmodels.system import child, codec, files
from qmodels.system.errors import Unavailable, UserError, describe_error
from qmodels.variants import registry
from qmodels.variants.registry import Variant

REFERENCE_FILE = "reference.safetensors"


def build(variant: Variant, network: Network, folder: Path) -> None:
    """Quantize, store, and compute logits in reference arithmetic.

    Args:
        folder: where the files go.

    Raises:
        Unavailable: the variant can't be made of this network.
        UserError: the weights are damaged, or quantizing or storing failed.
    """
    try:
        with short_warnings(variant):
            quantized = variant.quantize(network.load(), **arguments(variant, network))
            variant.backend.save(quantized, folder)
            if variant.int8_share > 0:
                with torch.inference_mode():
                    logits = variant.backend.reference(quantized)(network.reference_images)
                save_file({"logits": logits.contiguous()}, folder / REFERENCE_FILE)
    except Unavailable:
        raise
    except UserError as error:
        raise UserError(f"{variant.name} can't be built: {error}") from error
    except Exception as error:
        raise build_failure(variant, describe_error(error), folder) from error


def short_warnings(variant: Variant) -> AbstractContextManager[None]:
    """While it lasts, torch says in one line that it will remove what a variant needs."""
    return torch_ao.short_warnings() if variant.backend.deprecation() else nullcontext()


def build_failure(variant: Variant, reason: str, folder: Path) -> UserError:
    """The line for a variant whose build in a folder failed."""
    remedy = f"fix {variant.module}, or leave the variant out"
    if files.is_full(folder, reason):
        remedy = "free the disk or set QMODELS_CACHE_DIR"
    return UserError(f"{variant.name} can't be built ({reason}): {remedy}")


def contents(variant: Variant, network: Network) -> dict[str, str | None]:
    """Digests of what a build reads of a network: its weights, and images where it does."""
    return {
        "weights": network.sha256,
        "calibration": network.calibration_digest if "calibration" in variant.takes else None,
        "reference": network.reference_digest if variant.int8_share > 0 else None,
    }


def arguments(variant: Variant, network: Network) -> dict[str, Tensor]:
    """The arguments of a variant beside the model, by name."""
    if "example" in variant.takes:
        return {"example": data.example_images(2, network.input_shape)}
    return {"calibration": network.calibration_images} if "calibration" in variant.takes else {}


@dataclass(frozen=True)
class _ArtifactRequest:
    variant: str
    module: str
    network: Call
    contents: Mapping[str, str | None]
    folder: str


@dataclass(frozen=True)
class Outcome:
    """Why a variant was not stored; both None where it was."""

    unavailable: str | None = None
    failed: str | None = None


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Build what an ``_ArtifactRequest`` asks for, and answer with an ``Outcome``."""
    asked = codec.decode(_ArtifactRequest, request)
    variant = registry.find(asked.variant, asked.module)
    outcome = Outcome()
    try:
        network = open_network(asked.network.function, **asked.network.arguments)
        if contents(variant, network) != asked.contents:
            raise UserError(
                f"{variant.name} can't be built: {asked.network.function} returns other weights or "
                f"images than {network.name} had: return the same"
            )
        build(variant, network, Path(asked.folder))
    except Unavailable as error:
        outcome = Outcome(unavailable=str(error))
    except UserError as error:
        outcome = Outcome(failed=str(error))
    answered: dict[str, Any] = codec.encode(outcome)
    return answered


if __name__ == "__main__":
    child.serve(answer)
