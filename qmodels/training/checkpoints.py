"""Trained fp32 weights on disk: safetensors files described by an index beside them.

A checkpoint folder holds ``index.json``, one record a file, and the files. The index has a format
number.

Convolution and linear weights are stored as float16, which halves the file and costs no measurable
accuracy. One-dimensional tensors (biases, batch-norm scales and statistics) stay float32, because a
running variance can exceed float16's range. Fake-quantized weights are stored as their levels,
int8. The recorded accuracy is that of the weights as stored.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from qmodels.network import resnet
from qmodels.quantize import fake_quantize
from qmodels.system import codec, files, store
from qmodels.system.errors import UserError
from qmodels.training.recipes import Recipe

INDEX = "index.json"
# The format of the index. Before 1 it was a list, without a number.
_FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """The description of one file of trained weights.

    Attributes:
        recipe: that made it, whole.
        top1, top5_error: on the whole test split after the last epoch, in percent.
        parent: digest of the checkpoint that fine-tuning started from.
        teacher: digest of the network that it was distilled from.
        quantization_aware: whether it holds fake-quantized weights and the ranges of activations.
    """

    file: str
    architecture: str
    width: int
    dataset: str
    classes: int
    recipe: Recipe
    seed: int
    precision: str
    top1: float
    top5_error: float
    sha256: str
    folder: Path = field(default=Path(), metadata={"key": None})
    parent: str | None = None
    teacher: str | None = None
    quantization_aware: bool = False

    @property
    def path(self) -> Path:
        """Where the weights are."""
        return self.folder / self.file


@dataclass(frozen=True)
class _Index:
    format: int
    checkpoints: tuple[Checkpoint, ...]


def shipped_dirs() -> tuple[Path, ...]:
    """The checkpoints that come with the package, and those that only a checkout has: wide ones."""
    package = Path(__file__).parents[1]
    return package / "training" / "checkpoint_files", package.parent / "baselines" / "checkpoints"


def known() -> list[Checkpoint]:
    """Every checkpoint: those that are shipped, then those of the cache, newest first.

    What somebody trained here later does not take the place of a shipped one: it has to be named.
    """
    folders = (*shipped_dirs(), store.cache_dir("checkpoints"))
    return [checkpoint for folder in folders for checkpoint in reversed(read_index(folder))]


def find(architecture: str, width: int, dataset: str) -> Checkpoint | None:
    """The first known checkpoint of a network that was trained from scratch, or None."""
    for checkpoint in known():
        described = (checkpoint.architecture, checkpoint.width, checkpoint.dataset)
        if described == (architecture, width, dataset) and checkpoint.parent is None:
            return checkpoint
    return None


def usual(architecture: str, width: int, dataset: str) -> Checkpoint:
    """The checkpoint of ``find``.

    Raises:
        UserError: there is none; names the command that trains it.
    """
    checkpoint = find(architecture, width, dataset)
    if checkpoint is None:
        raise UserError(
            f"no trained {architecture} of width {width} for {dataset}: train it with "
            f"`qmodels train --dataset {dataset} --architecture {architecture} --width {width}`"
        )
    return checkpoint


def find_quantization_aware(parent: Checkpoint) -> Checkpoint | None:
    """The first checkpoint that was trained quantization-aware from another, or None.

    Looked for beside the other one first.
    """
    for checkpoint in (*reversed(read_index(parent.folder)), *known()):
        if checkpoint.quantization_aware and checkpoint.parent == parent.sha256:
            return checkpoint
    return None


def find_finished(description: Checkpoint) -> Checkpoint | None:
    """The checkpoint of a folder that differs from a description only in what training finds.

    Args:
        description: its precision is empty where any will do.
    """
    for checkpoint in read_index(description.folder):
        expected = replace(
            description,
            precision=description.precision or checkpoint.precision,
            top1=checkpoint.top1,
            top5_error=checkpoint.top5_error,
            sha256=checkpoint.sha256,
        )
        if checkpoint == expected and checkpoint.path.exists():
            return checkpoint
    return None


def resolve(name: str) -> Checkpoint:
    """The checkpoint of a file name, with or without its suffix, or of a path.

    Raises:
        UserError: there is none, or several have the name; lists those that there are.

    A path may lead outside of the known folders, to one that has an index too.
    """
    folder = Path(name).parent
    beside = read_index(folder) if (folder / INDEX).is_file() else []
    everything = [*known(), *beside]
    for checkpoint in everything:
        if Path(name).resolve() == checkpoint.path.resolve():
            return checkpoint
    matching = [
        checkpoint
        for checkpoint in everything
        if name in (checkpoint.file, Path(checkpoint.file).stem)
    ]
    if len({checkpoint.sha256 for checkpoint in matching}) > 1:
        paths = " and ".join(dict.fromkeys(str(checkpoint.path) for checkpoint in matching))
        raise UserError(f"checkpoint {name!r} is the name of {paths}: give a path")
    if matching:
        return matching[0]
    names = ", ".join(dict.fromkeys(Path(checkpoint.file).stem for checkpoint in everything))
    raise UserError(f"no checkpoint {name!r}: choose one of {names}")


def read_index(folder: Path) -> list[Checkpoint]:
    """The checkpoints of a folder, oldest first; none where there is no index."""
    index = folder / INDEX
    if not index.exists():
        return []
    with codec.damage_as_error(index, "restore it, or delete it and train again"):
        content = codec.decode(dict[str, Any], codec.parse_json(index.read_bytes()))
        if content.get("format") != _FORMAT:
            raise UserError(
                f"checkpoint index {index} has format {content.get('format')}, and this qmodels "
                f"reads {_FORMAT}: use the version that wrote it, or a later one"
            )
        known = codec.decode(_Index, content).checkpoints
    return [replace(checkpoint, folder=folder) for checkpoint in known]


def save(state: dict[str, Tensor], description: Checkpoint) -> Checkpoint:
    """Write weights and their record; a record of the same file name is replaced.

    Args:
        state: the model's state dictionary, its weights float32.
        description: everything but the digest, which is filled in.
    """
    with files.atomic_write(description.path) as scratch:
        save_file(to_storage(state), scratch)
        checkpoint = replace(description, sha256=store.digest_file(scratch))
    with files.lock(checkpoint.folder / INDEX):
        others = [other for other in read_index(checkpoint.folder) if other.file != checkpoint.file]
        records = [asdict(description) for description in (*others, checkpoint)]
        for record in records:
            del record["folder"]
        content = {"format": _FORMAT, "checkpoints": records}
        files.write_text(checkpoint.folder / INDEX, json.dumps(content, indent=2) + "\n")
    return checkpoint


def to_storage(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dictionary as it is stored: weights in float16 or as levels, the rest unchanged."""
    stored = {}
    for name, value in fake_quantize.to_levels(state).items():
        weight = value.is_floating_point() and value.dim() > 1
        dtype = torch.float16 if weight else value.dtype
        stored[name] = value.detach().to("cpu", dtype).contiguous()
    return stored


def from_storage(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of ``to_storage``: weights float32."""
    return {
        name: value.float() if value.is_floating_point() else value
        for name, value in fake_quantize.from_levels(stored).items()
    }


def structure(checkpoint: Checkpoint) -> nn.Module:
    """A network of a checkpoint's structure, its weights random, in eval mode."""
    model: nn.Module = resnet.build(checkpoint.architecture, checkpoint.width, checkpoint.classes)
    if checkpoint.quantization_aware:
        model = fake_quantize.prepare(model)
    return model.eval()


def load_model(checkpoint: Checkpoint) -> nn.Module:
    """The trained network, fake-quantized where it was trained so: float32, CPU, eval mode.

    Raises:
        UserError: the file is missing, or is not the one that the index describes.
    """
    remedy = (
        "restore it from git, install qmodels again, or delete it, with its record in index.json, "
        "and train again"
    )
    if not checkpoint.path.exists():
        raise UserError(f"checkpoint {checkpoint.path} is missing: {remedy}")
    if store.digest_file(checkpoint.path) != checkpoint.sha256:
        raise UserError(f"checkpoint {checkpoint.path} is damaged (SHA-256 differs): {remedy}")
    model = structure(checkpoint)
    try:
        model.load_state_dict(from_storage(load_file(checkpoint.path)))
    except (SafetensorError, RuntimeError):
        raise UserError(
            f"checkpoint {checkpoint.path} does not hold the weights of {checkpoint.architecture} "
            f"at width {checkpoint.width}: {remedy}"
        ) from None
    return model
