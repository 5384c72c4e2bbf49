"""A training as a value; its description is the key of the checkpoint that comes of it."""

from dataclasses import dataclass
from pathlib import Path

from qmodels.data import Dataset
from qmodels.system import store
from qmodels.system.defaults import network_name
from qmodels.training.arithmetic import Precision
from qmodels.training.checkpoints import Checkpoint
from qmodels.training.recipes import Recipe


@dataclass(frozen=True)
class Job:
    """A training: all that decides the weights, but for the machine.

    Attributes:
        parent: the checkpoint to start from; None to start from scratch.
        teacher: whose logits a recipe that distills follows; None for the parent.
        quantization_aware: fake-quantize; needs a parent.
        reduced_precision: whether to multiply in bfloat16; None to probe which is faster.
    """

    dataset: Dataset
    architecture: str
    width: int
    recipe: Recipe
    seed: int = 0
    parent: Checkpoint | None = None
    teacher: Checkpoint | None = None
    quantization_aware: bool = False
    reduced_precision: bool | None = None

    @property
    def name(self) -> str:
        """The name of the checkpoint's files."""
        if self.parent is None:
            name = network_name(self.dataset.name, self.architecture, self.width)
            first = f"{name}-{self.recipe.name}"
        else:
            kind = "int8" if self.quantization_aware else "fp32"
            first = f"{Path(self.parent.file).stem}-{self.recipe.name}-{kind}"
        return f"{first}-s{self.seed}"

    @property
    def precision(self) -> Precision | None:
        """The precision that the job asks for; None where a probe decides."""
        if self.reduced_precision is None:
            return None
        return self.bfloat16 if self.reduced_precision else "float32"

    @property
    def bfloat16(self) -> Precision:
        """The use of bfloat16: fine-tuning and its control share one arithmetic."""
        return "bfloat16" if self.parent is None else "bfloat16-convolutions"

    @property
    def description(self) -> Checkpoint:
        """The checkpoint to be, but for what training finds: weights, accuracy, precision."""
        return Checkpoint(
            file=f"{self.name}.safetensors",
            architecture=self.architecture,
            width=self.width,
            dataset=self.dataset.name,
            classes=self.dataset.classes,
            recipe=self.recipe,
            seed=self.seed,
            precision=self.precision or "",
            top1=0.0,
            top5_error=0.0,
            sha256="",
            folder=store.cache_dir("checkpoints"),
            parent=self.parent.sha256 if self.parent else None,
            teacher=self.teacher.sha256 if self.teacher else None,
            quantization_aware=self.quantization_aware,
        )
