"""Quantize a network and store the result; run as a process of its own where that is safer.

The first request says what to build; the answer comes when it is stored.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from qmodels import data
from qmodels.data import Dataset
from qmodels.network import Call, Network, eager_quantization
from qmodels.system import store, worker
from qmodels.system.errors import Unavailable, UserError, describe_error
from qmodels.variants import registry
from qmodels.variants.registry import Variant

REFERENCE_FILE = "reference.safetensors"
REFERENCE_IMAGES = 100


def build(variant: Variant, network: Network, folder: Path) -> None:
    """Quantize, store, and compute logits in reference arithmetic.

    Args:
        folder: where the files go.

    Raises:
        Unavailable: the variant can't be made of this network.
        UserError: the weights are damaged, or quantizing or storing failed.
    """
    model, dataset = network.load(), network.dataset
    try:
        with eager_quantization.suppress_deprecations():
            quantized = variant.quantize(model, **arguments(variant, dataset))
            variant.backend.save(quantized, folder)
            if variant.int8_share > 0:
                with torch.inference_mode():
                    logits = variant.backend.reference(quantized)(reference_images(dataset))
                save_file({"logits": logits.contiguous()}, folder / REFERENCE_FILE)
    except Unavailable:
        raise
    except UserError as error:
        raise UserError(f"{variant.name} can't be built: {error}") from error
    except Exception as error:
        raise build_failure(variant, describe_error(error), folder) from error


def build_failure(variant: Variant, reason: str, folder: Path) -> UserError:
    """The line for a variant whose build in a folder failed."""
    remedy = f"fix {variant.module}, or leave the variant out"
    if store.is_full(folder, reason):
        remedy = "free the disk or set QMODELS_CACHE_DIR"
    return UserError(f"{variant.name} can't be built ({reason}): {remedy}")


def calibration_images(variant: Variant, dataset: Dataset) -> Tensor | None:
    """The images (N, C, H, W) uint8 that a variant looks at, if it does."""
    return dataset.calibration.images if "calibration" in variant.takes else None


def contents(variant: Variant, network: Network) -> dict[str, str | None]:
    """Digests of what a build reads of a network: its weights, and images."""
    dataset = network.dataset
    reference = dataset.test.first(REFERENCE_IMAGES).images if variant.int8_share > 0 else None
    return {
        "checkpoint": network.sha256,
        "calibration": images_digest(dataset, calibration_images(variant, dataset)),
        "reference": images_digest(dataset, reference),
    }


def images_digest(dataset: Dataset, images: Tensor | None) -> str | None:
    """SHA-256 of images (N, C, H, W) uint8 and of how they are normalized; None without any."""
    if images is None:
        return None
    normalization = json.dumps([dataset.mean, dataset.std]).encode()
    return store.digest_bytes(images.numpy().tobytes() + normalization)


def arguments(variant: Variant, dataset: Dataset) -> dict[str, Tensor]:
    """What a variant takes beside the model, by name."""
    if "example" in variant.takes:
        return {"example": data.example_images(2, dataset.test.images.shape[1:])}
    images = calibration_images(variant, dataset)
    return {} if images is None else {"calibration": dataset.normalize(images)}


def reference_images(dataset: Dataset) -> Tensor:
    """The images that runtimes are compared with reference arithmetic on, float32, normalized."""
    return dataset.normalize(dataset.test.first(REFERENCE_IMAGES).images)


def answer(request: Mapping[str, Any]) -> dict[str, str]:
    """Build what is asked for.

    Args:
        request: ``variant`` and the ``module`` that defines it, ``network``, as ``Network.reopen``
            is, its ``contents``, and the ``folder``.

    Returns:
        Empty where it is stored, else why not: as ``unavailable`` or as ``failed``.
    """
    variant = registry.find(request["variant"], request["module"])
    try:
        network = Call(**request["network"])()
        if contents(variant, network) != request["contents"]:
            function = request["network"]["function"]
            raise UserError(
                f"{variant.name} can't be built: {function} returns other weights or images than "
                f"{network.name} had: return the same"
            )
        build(variant, network, Path(request["folder"]))
    except Unavailable as error:
        return {"unavailable": str(error)}
    except UserError as error:
        return {"failed": str(error)}
    return {}


if __name__ == "__main__":
    worker.serve(answer)
