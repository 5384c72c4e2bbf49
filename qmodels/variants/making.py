"""Quantize a checkpoint and store what came of it; run as a process of its own where that is safer.

The first request says what to make; the answer comes when it is stored.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from qmodels import checkpoints, child, data, torch_ao
from qmodels.checkpoints import Checkpoint
from qmodels.data import Dataset
from qmodels.errors import Unavailable, UserError, described
from qmodels.runtimes.format import Structure
from qmodels.variants.registry import Variant, all_variants

REFERENCE_FILE = "reference.safetensors"
REFERENCE_IMAGES = 100


def make(
    variant: Variant,
    checkpoint: Checkpoint,
    dataset: Dataset,
    calibration: Tensor | None,
    folder: Path,
) -> None:
    """Quantize, store, and note what reference arithmetic gives.

    Args:
        calibration: images (N, 3, 32, 32) uint8, for variants that look at them.
        folder: where the files go.

    Raises:
        Unavailable: the variant can't be made of this network.
        UserError: the checkpoint is damaged, or quantizing or storing failed.
    """
    model = checkpoints.load_model(checkpoint)
    structure = Structure(checkpoint.architecture, checkpoint.width, checkpoint.classes)
    normalized = None if calibration is None else dataset.normalize(calibration)
    try:
        with torch_ao.quietly():
            made = variant.quantize(model, normalized)
            variant.format.save(made, structure, folder)
            if variant.int8_share > 0:
                reference = torch_ao.on_engine(variant.engine, variant.format.reference(made))
                with torch.inference_mode():
                    logits = reference(reference_images(dataset))
                save_file({"logits": logits.contiguous()}, folder / REFERENCE_FILE)
    except Unavailable:
        raise
    except UserError as error:
        raise UserError(f"{variant.name} can't be built: {error}") from error
    except Exception as error:
        raise unbuildable(variant, described(error)) from error


def unbuildable(variant: Variant, reason: str) -> UserError:
    """The line for a variant whose build failed."""
    remedy = f"mend {variant.quantize.__module__}, or leave the variant out"
    if "No space left" in reason:
        remedy = "free the disk or set QMODELS_CACHE_DIR"
    return UserError(f"{variant.name} can't be built ({reason}): {remedy}")


def reference_images(dataset: Dataset) -> Tensor:
    """The images that runtimes are held against reference arithmetic on, float32, normalized."""
    return dataset.normalize(dataset.test.first(REFERENCE_IMAGES).images)


def answer(request: Mapping[str, Any]) -> dict[str, str]:
    """Make what is asked for.

    Args:
        request: ``variant``, the path of a ``checkpoint``, ``dataset``, how many images of
            ``calibration`` (or none), and the ``folder``.

    Returns:
        Empty where it is stored, else why not: as ``unavailable`` or as ``failed``.
    """
    dataset = data.load(request["dataset"])
    count = request["calibration"]
    calibration = None if count is None else data.stratified_subset(dataset.train, count).images
    variant = all_variants()[request["variant"]]
    checkpoint = checkpoints.named(request["checkpoint"])
    try:
        make(variant, checkpoint, dataset, calibration, Path(request["folder"]))
    except Unavailable as error:
        return {"unavailable": str(error)}
    except UserError as error:
        return {"failed": str(error)}
    return {}


if __name__ == "__main__":
    child.serve(answer)
