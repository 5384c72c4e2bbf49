"""Build a variant of a checkpoint into the store, once, and load it from there."""

import inspect
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

import qmodels
from qmodels import checkpoints, data, machine, store, torch_ao
from qmodels.checkpoints import Checkpoint
from qmodels.data import Dataset
from qmodels.errors import Unavailable, UserError
from qmodels.variants.formats import Runnable, Structure
from qmodels.variants.registry import Variant

CALIBRATION_IMAGES = 1000
# What decides an artifact's bytes: editing any of these builds anew.
SOURCES = (
    "resnet.py",
    "fusion.py",
    "fake_quantize.py",
    "torch_ao.py",
    "machine.py",
    "variants/*.py",
)


@dataclass(frozen=True)
class Artifact:
    """What would be deployed: the files of one variant of one checkpoint."""

    variant: Variant
    folder: Path

    @property
    def size_bytes(self) -> int:
        """Bytes of all its files, the store's own manifest not counted."""
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return sum(path.stat().st_size for path in files if path.name != store.MANIFEST)

    def load(self) -> Runnable:
        """Load from disk; the outputs are bit for bit those of what was saved.

        Raises:
            UserError: a file is missing or damaged.
        """
        damage = store.damaged_file(self.folder)
        if damage is not None:
            raise UserError(f"artifact file {damage} is damaged: delete {self.folder} to rebuild")
        with torch_ao.quantized_engine(self.variant.engine):
            forward = self.variant.format.load(
                self.folder, lambda model: self.variant.quantize(model, None)
            )

        def checked(images: Tensor) -> Tensor:
            if images.dim() != 4 or images.shape[1] != 3 or images.dtype != torch.float32:
                raise UserError(
                    f"{self.variant.name} got images of shape {tuple(images.shape)} and "
                    f"{images.dtype}: give it (N, 3, 32, 32) of torch.float32"
                )
            return forward(images)

        return checked


def build(
    variant: Variant, checkpoint: Checkpoint, dataset: Dataset, *, console: Console | None = None
) -> Artifact:
    """Quantize a checkpoint, or find that it was done before.

    Args:
        console: where progress goes if a quantization-aware sibling has to be trained.

    Raises:
        Unavailable: this machine can't run the variant, or there is no such sibling.
        UserError: the checkpoint is damaged, or the cache can't be written.
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
        "machine_class": machine.machine_class(),
        "saturates": variant.calibrates and machine.int8_saturates(variant.engine),
        "versions": {"torch": machine.versions()["torch"]},
        "source": source_digest(variant),
    }

    def write(folder: Path) -> None:
        model = checkpoints.load_model(checkpoint)
        calibration = None
        if variant.calibrates:
            calibration = dataset.normalize(data.stratified_subset(dataset.train, count).images)
        structure = Structure(checkpoint.architecture, checkpoint.width, checkpoint.classes)
        with torch_ao.quietly():
            variant.format.save(variant.quantize(model, calibration), structure, folder)

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
