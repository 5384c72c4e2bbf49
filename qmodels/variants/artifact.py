"""Build a variant of a checkpoint into the store, once, and load it from there."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor

from qmodels import child, data, engines, machine, sources, store, torch_ao
from qmodels.checkpoints import Checkpoint
from qmodels.data import Dataset
from qmodels.errors import Unavailable, UserError
from qmodels.runtimes.dispatch import Runnable
from qmodels.variants.making import REFERENCE_FILE, REFERENCE_IMAGES, make, unbuildable
from qmodels.variants.registry import Variant

CALIBRATION_IMAGES = 1000
# Files of an artifact's folder that would not be deployed.
NOT_DEPLOYED = (store.MANIFEST, REFERENCE_FILE)


@dataclass(frozen=True)
class Artifact:
    """What would be deployed: the files of one variant of one checkpoint."""

    variant: Variant
    folder: Path

    @property
    def size_bytes(self) -> int:
        """Bytes of all its files, without what only this harness needs."""
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return sum(path.stat().st_size for path in files if path.name not in NOT_DEPLOYED)

    def load(self) -> Runnable:
        """Load from disk; the outputs are bit for bit those of what was saved.

        Raises:
            UserError: a file is missing or damaged, or it was made for another machine class,
                for instructions that this processor lacks, other versions, or a machine that does
                not saturate.
        """
        damage = store.damaged_file(self.folder)
        if damage is not None:
            raise UserError(f"artifact file {damage} is damaged: delete {self.folder} to rebuild")
        unfit = self.unfit()
        if unfit is not None:
            raise UserError(f"artifact {self.folder} {unfit}: build it again with `qmodels build`")
        with torch_ao.quantized_engine(self.variant.engine):
            forward = torch_ao.on_engine(
                self.variant.engine,
                self.variant.format.load(
                    self.folder, lambda model: self.variant.quantize(model, None)
                ),
            )

        def checked(images: Tensor) -> Tensor:
            if images.dim() != 4 or images.shape[1] != 3 or images.dtype != torch.float32:
                raise UserError(
                    f"{self.variant.name} got images of shape {tuple(images.shape)} and "
                    f"{images.dtype}: give it (N, 3, 32, 32) of torch.float32"
                )
            return forward(images)

        return checked

    def unfit(self) -> str | None:
        """Why this machine is not one that the artifact was made for; None where it is."""
        made: Mapping[str, Any] = json.loads(
            (self.folder / store.MANIFEST).read_text(encoding="utf-8")
        )["inputs"]
        here = conditions(self.variant)
        if made["machine_class"] != here["machine_class"]:
            return f"was made on {made['machine_class']}, and this is {here['machine_class']}"
        lacking = sorted(set(made["cpu_flags"] or ()) - set(here["cpu_flags"] or ()))
        if lacking:
            return f"is code for a processor with {', '.join(lacking)}, which this one lacks"
        for package, version in here["versions"].items():
            then = made["versions"].get(package)
            if then != version:
                return f"was made with {package} {then}, and {version} is installed"
        if here["saturates"] and not made["saturates"]:
            return f"has weights of eight bits, and {self.variant.engine} saturates here"
        return None

    def reference_logits(self) -> Tensor | None:
        """What reference arithmetic gives for ``making.reference_images``, (N, classes) float32.

        None for variants that claim no int8.
        """
        path = self.folder / REFERENCE_FILE
        return load_file(path)["logits"] if path.exists() else None


def conditions(variant: Variant) -> dict[str, Any]:
    """What an artifact of a variant depends on beside the checkpoint and the code."""
    int8 = variant.int8_share > 0
    return {
        "machine_class": engines.machine_class(variant.engine),
        "saturates": bool(int8 and engines.ask(variant.engine, variant.requires).saturates),
        "versions": engines.versions(("torch", *variant.requires)),
        "cpu_flags": sorted(machine.cpu_flags()) if variant.format.machine_code else None,
        # Kernels are chosen and built for one kind of card, of which a class has several.
        "gpu": machine.gpu_name() if variant.on_gpu else None,
    }


def inputs(variant: Variant, checkpoint: Checkpoint, dataset: Dataset) -> dict[str, Any]:
    """All that an artifact is made from; its digest is what the artifact is found by.

    Args:
        checkpoint: the weights that are quantized.
    """
    reference = dataset.test.first(REFERENCE_IMAGES).images if variant.int8_share > 0 else None
    return {
        "variant": variant.name,
        "engine": variant.engine,
        "checkpoint": checkpoint.sha256,
        "calibration": images_digest(dataset, calibration_images(variant, dataset)),
        "reference": images_digest(dataset, reference),
        **conditions(variant),
        "sources": sources.of(makers(variant)),
    }


def makers(variant: Variant) -> list[Callable[..., Any]]:
    """The functions that make an artifact of a variant."""
    return [make, variant.quantize, *filter(callable, vars(variant.format).values())]


def calibration_images(variant: Variant, dataset: Dataset) -> Tensor | None:
    """The images (N, 3, 32, 32) uint8 that a variant looks at, if it does."""
    count = min(CALIBRATION_IMAGES, len(dataset.train))
    return data.stratified_subset(dataset.train, count).images if variant.calibrates else None


def images_digest(dataset: Dataset, images: Tensor | None) -> str | None:
    """SHA-256 of images (N, 3, 32, 32) uint8 and of how they are normalized; None without any."""
    if images is None:
        return None
    normalization = json.dumps([dataset.mean, dataset.std]).encode()
    return store.digest_bytes(images.numpy().tobytes() + normalization)


def build(
    variant: Variant, checkpoint: Checkpoint, dataset: Dataset, *, console: Console | None = None
) -> Artifact:
    """Quantize a checkpoint, or find that it was done before.

    Args:
        console: where progress goes if a quantization-aware sibling has to be trained.

    Raises:
        Unavailable: this machine can't run the variant, or there is no such sibling.
        UserError: the checkpoint is damaged, quantizing or storing failed, or the cache can't be
            written.
    """
    missing = variant.missing()
    if missing:
        raise Unavailable(f"{variant.name}: {missing}")
    if variant.quantization_aware:
        from qmodels import training  # brings in torch's compiler, which takes seconds

        checkpoint = training.find_or_fine_tune(checkpoint, dataset, console=console)

    def write(folder: Path) -> None:
        images = calibration_images(variant, dataset)
        if not variant.isolated:
            make(variant, checkpoint, dataset, images, folder)
            return
        request = {
            "variant": variant.name,
            "checkpoint": str(checkpoint.path),
            "dataset": dataset.name,
            "calibration": None if images is None else len(images),
            "folder": str(folder),
        }
        try:
            with child.start("qmodels.variants.making") as process:
                failure = process.ask(request)
        except UserError as error:  # it died
            raise unbuildable(variant, str(error)) from None
        if "unavailable" in failure:
            raise Unavailable(failure["unavailable"])
        if "failed" in failure:
            raise UserError(failure["failed"])

    name = f"{checkpoint.dataset}-{checkpoint.architecture}-w{checkpoint.width}-{variant.name}"
    return Artifact(variant, store.build_folder(name, inputs(variant, checkpoint, dataset), write))
