"""Build a variant of a checkpoint into the store, once, and load it from there."""

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor

import qmodels
from qmodels import child, data, engines, store, torch_ao
from qmodels.checkpoints import Checkpoint
from qmodels.data import Dataset
from qmodels.errors import Unavailable, UserError
from qmodels.variants.formats import Runnable
from qmodels.variants.making import REFERENCE_FILE, make
from qmodels.variants.registry import Variant

CALIBRATION_IMAGES = 1000
# What decides an artifact's bytes: editing any of these builds anew.
SOURCES = (
    "resnet.py",
    "fusion.py",
    "fake_quantize.py",
    "sensitivity.py",
    "calibration.py",
    "integer.py",
    "integer_network.py",
    "torch_ao.py",
    "machine.py",
    "engines.py",
    "runtimes/*.py",
    "variants/*.py",
)
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
                other versions, or a machine that does not saturate.
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
    }


def build(
    variant: Variant, checkpoint: Checkpoint, dataset: Dataset, *, console: Console | None = None
) -> Artifact:
    """Quantize a checkpoint, or find that it was done before.

    Args:
        console: where progress goes if a quantization-aware sibling has to be trained.

    Raises:
        Unavailable: this machine can't run the variant, or there is no such sibling.
        UserError: the checkpoint is damaged, the runtime failed, or the cache can't be written.
    """
    missing = variant.missing()
    if missing:
        raise Unavailable(f"{variant.name}: {missing}")
    if variant.quantization_aware:
        from qmodels import training  # brings in torch's compiler, which takes seconds

        checkpoint = training.find_or_fine_tune(checkpoint, dataset, console=console)
    count = min(CALIBRATION_IMAGES, len(dataset.train))
    inputs = {
        "variant": variant.name,
        "engine": variant.engine,
        "checkpoint": checkpoint.sha256,
        "calibration": [dataset.name, count] if variant.calibrates else None,
        **conditions(variant),
        "source": source_digest(variant),
    }

    def write(folder: Path) -> None:
        if not variant.isolated:
            calibration = data.stratified_subset(dataset.train, count).images
            make(variant, checkpoint, dataset, calibration if variant.calibrates else None, folder)
            return
        request = {
            "variant": variant.name,
            "checkpoint": str(checkpoint.path),
            "dataset": dataset.name,
            "calibration": count if variant.calibrates else None,
            "folder": str(folder),
        }
        with child.start("qmodels.variants.making") as process:
            process.ask(request)

    name = f"{checkpoint.dataset}-{checkpoint.architecture}-w{checkpoint.width}-{variant.name}"
    return Artifact(variant, store.build_folder(name, inputs, write))


@cache
def source_digest(variant: Variant) -> str:
    """Digest of the code that makes artifacts, with the modules that define the variant."""
    package = Path(qmodels.__file__).parent
    paths = {path for pattern in SOURCES for path in package.glob(pattern)}
    for function in (variant.quantize, variant.format.save, variant.format.load):
        source = inspect.getsourcefile(function)
        if source and Path(source).exists():
            paths.add(Path(source))
    return store.digest_bytes(b"".join(path.read_bytes() for path in sorted(paths)))
