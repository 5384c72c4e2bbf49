"""Train a network from a recipe: one loop for GPUs and CPUs, resumable after a kill."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from qmodels import checkpoints, machine, resnet, store
from qmodels.checkpoints import Checkpoint
from qmodels.data import Dataset, Split
from qmodels.errors import UserError

EVALUATION_BATCH = 250
# What is measured where no width is named: of each, a checkpoint is shipped.
DEFAULT_WIDTH = {"digits": 8, "cifar100": 16}
QUICK_WIDTH = 16  # digits train in a minute on two cores up to here


@dataclass(frozen=True)
class Stage:
    """Some epochs at one image size, in pixels; smaller images make cheaper epochs."""

    epochs: int
    image_size: int


@dataclass(frozen=True)
class Recipe:
    """Everything that decides how a network is trained, but the seed.

    SGD with Nesterov momentum 0.9. The rate rises linearly to ``peak_rate`` over the first
    ``warmup`` of the steps and falls linearly to zero (Smith's one-cycle, 2018); with ``warmup``
    None it is constant. Weight decay spares batch norms and biases.
    """

    name: str
    stages: tuple[Stage, ...]
    batch_size: int
    peak_rate: float
    warmup: float | None
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    crop_padding: int = 4

    @property
    def epochs(self) -> int:
        """Epochs over all stages."""
        return sum(stage.epochs for stage in self.stages)

    def image_size(self, epoch: int) -> int:
        """Image size of an epoch, counted from 0."""
        for stage in self.stages:
            if epoch < stage.epochs:
                return stage.image_size
            epoch -= stage.epochs
        return self.stages[-1].image_size

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of a step, counted from 0, of all the steps of the training."""
        if self.warmup is None:
            return self.peak_rate
        rising = max(1, round(self.warmup * steps))
        if step < rising:
            return self.peak_rate * (step + 1) / rising
        return self.peak_rate * (steps - step) / (steps - rising + 1)


RECIPES = {
    recipe.name: recipe
    for recipe in (
        # The study's own: its constant rate is what holds it at 73 %.
        Recipe("report", (Stage(60, 32),), batch_size=32, peak_rate=0.1, warmup=None),
        Recipe(
            "default",
            (Stage(60, 32),),
            batch_size=256,
            peak_rate=0.2,
            warmup=0.15,
            label_smoothing=0.1,
        ),
        # Two cores: progressive resizing spends the first epochs where they are cheap.
        Recipe(
            "compact-cpu",
            (Stage(8, 16), Stage(12, 24), Stage(24, 32)),
            batch_size=128,
            peak_rate=0.15,
            warmup=0.25,
            label_smoothing=0.05,
        ),
        # Seconds at width 8: quick enough to train when a checkpoint is missing.
        Recipe(
            "digits", (Stage(12, 32),), batch_size=64, peak_rate=0.1, warmup=0.25, crop_padding=2
        ),
    )
}


def recipe_for(dataset: str, device: torch.device) -> Recipe:
    """The recipe used where none is named."""
    if dataset == "digits":
        return RECIPES["digits"]
    return RECIPES["default" if device.type == "cuda" else "compact-cpu"]


def train(
    dataset: Dataset,
    architecture: str,
    width: int,
    recipe: Recipe,
    *,
    seed: int = 0,
    console: Console | None = None,
) -> Checkpoint:
    """Train from scratch, or from where a killed run stopped, into the cache.

    Args:
        console: where the progress bar goes; None shows nothing.

    Returns:
        The checkpoint, with its accuracy on the test split after the last epoch.

    Raises:
        UserError: unknown architecture or width, a loss that is no longer finite, no disk space.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = "bfloat16" if machine.bfloat16_pays(device) else "float32"
    run = {
        "dataset": dataset.name,
        "architecture": architecture,
        "width": width,
        "recipe": asdict(recipe),
        "seed": seed,
        "precision": precision,
        "device": device.type,
    }
    name = f"{dataset.name}-{architecture}-w{width}-{recipe.name}-s{seed}"
    state_path = store.cache_dir("training") / f"{name}-{store.digest_value(run)[:12]}.safetensors"
    log_path = state_path.with_suffix(".log")

    with torch.random.fork_rng(devices=[]), store.lock(state_path):
        torch.manual_seed(seed)
        model = resnet.build(architecture, width, dataset.classes)
        model.to(device).to(memory_format=torch.channels_last)
        optimizer = sgd(model, recipe)
        first_epoch = restore(state_path, model, optimizer)
        images, labels = dataset.train.images.to(device), dataset.train.labels.to(device)
        steps_per_epoch = len(labels) // recipe.batch_size
        with progress_bar(console) as bar:
            task = bar.add_task(
                name,
                total=recipe.epochs * steps_per_epoch,
                completed=first_epoch * steps_per_epoch,
                epoch=first_epoch,
                epochs=recipe.epochs,
                loss=math.nan,
                speed=0.0,
            )
            for epoch in range(first_epoch, recipe.epochs):
                started = time.perf_counter()
                # Seeded by epoch, so that a resumed run draws what an undisturbed one does.
                generator = torch.Generator().manual_seed(seed * 100_003 + epoch)
                order = torch.randperm(len(labels), generator=generator).to(device)
                total_loss = torch.zeros((), device=device)
                model.train()
                for index in range(steps_per_epoch):
                    step = epoch * steps_per_epoch + index
                    rate = recipe.rate(step, recipe.epochs * steps_per_epoch)
                    for group in optimizer.param_groups:
                        group["lr"] = rate
                    batch = order[index * recipe.batch_size : (index + 1) * recipe.batch_size]
                    x = augment(
                        dataset, images[batch], recipe, recipe.image_size(epoch), generator
                    ).contiguous(memory_format=torch.channels_last)
                    with torch.autocast(
                        device.type, torch.bfloat16, enabled=precision == "bfloat16"
                    ):
                        loss = functional.cross_entropy(
                            model(x), labels[batch], label_smoothing=recipe.label_smoothing
                        )
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    total_loss += loss.detach()
                    speed = (index + 1) * recipe.batch_size / (time.perf_counter() - started)
                    bar.update(task, advance=1, epoch=epoch + 1, speed=speed)
                mean_loss = float(total_loss) / steps_per_epoch
                if not math.isfinite(mean_loss):
                    raise UserError(
                        f"training {name}: the loss of epoch {epoch + 1} is {mean_loss}; "
                        f"epoch {epoch} is kept in {state_path}: "
                        "train with another --seed or recipe"
                    )
                bar.update(task, loss=mean_loss)
                save_state(state_path, model, optimizer, epoch + 1)
                with log_path.open("a", encoding="utf-8") as log:
                    seconds = time.perf_counter() - started
                    log.write(
                        f"epoch {epoch + 1}/{recipe.epochs}  {recipe.image_size(epoch)} px  "
                        f"loss {mean_loss:.4f}  {speed:.0f} images/s  {seconds:.0f} s\n"
                    )

        weights = {key: checkpoints.to_storage(value) for key, value in model.state_dict().items()}
        stored = resnet.build(architecture, width, dataset.classes).eval()
        stored.load_state_dict(weights)
        top1, top5_error = accuracy(predict(stored, dataset, dataset.test.images), dataset.test)
        checkpoint = checkpoints.save(
            weights,
            Checkpoint(
                file=f"{name}.safetensors",
                architecture=architecture,
                width=width,
                dataset=dataset.name,
                classes=dataset.classes,
                recipe=recipe.name,
                epochs=recipe.epochs,
                seed=seed,
                precision=precision,
                top1=top1,
                top5_error=top5_error,
                sha256="",
                folder=store.cache_dir("checkpoints"),
            ),
        )
        with log_path.open("a", encoding="utf-8") as log:
            log.write(f"test top-1 {top1:.2f} %  top-5 error {top5_error:.2f} %\n")
        state_path.unlink(missing_ok=True)
    return checkpoint


def find_or_train(
    dataset: Dataset, architecture: str, width: int, *, console: Console | None = None
) -> Checkpoint:
    """Trained weights: from the cache, else shipped, else trained now where that takes seconds.

    Raises:
        UserError: there are none, and training takes longer than a fixture may; names the command.
    """
    found = checkpoints.find(architecture, width, dataset.name)
    if found is not None:
        return found
    if dataset.name == "digits" and width <= QUICK_WIDTH:
        return train(dataset, architecture, width, RECIPES["digits"], console=console)
    raise UserError(
        f"no trained {architecture} of width {width} for {dataset.name}: train it with "
        f"`qmodels train --dataset {dataset.name} --architecture {architecture} --width {width}`"
    )


def sgd(model: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """SGD with Nesterov momentum; weight decay for weights, none for batch norms and biases."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=recipe.peak_rate, momentum=0.9, nesterov=True)


def augment(
    dataset: Dataset, images: Tensor, recipe: Recipe, image_size: int, generator: torch.Generator
) -> Tensor:
    """Random crops after reflection padding, mirrored where the data set mirrors, resized.

    Args:
        images: (N, 3, 32, 32) uint8, on the device that trains.
        generator: of the CPU, so that every device draws the same.

    Returns:
        (N, 3, image_size, image_size) float32, normalized.
    """
    count, channels, height, width = images.shape
    padding = recipe.crop_padding
    device = images.device
    padded = functional.pad(images.float(), (padding,) * 4, mode="reflect")
    top, left = torch.randint(0, 2 * padding + 1, (2, count, 1), generator=generator)
    rows = top + torch.arange(height)
    columns = left + torch.arange(width)
    if dataset.mirrors:
        mirrored = torch.rand(count, 1, generator=generator) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    cropped = padded[
        torch.arange(count, device=device)[:, None, None, None],
        torch.arange(channels, device=device)[None, :, None, None],
        rows.to(device)[:, None, :, None],
        columns.to(device)[:, None, None, :],
    ]
    if image_size != height:
        cropped = functional.interpolate(
            cropped, size=image_size, mode="bilinear", antialias=True, align_corners=False
        )
    return dataset.normalize(cropped)


def predict(
    forward: Callable[[Tensor], Tensor],
    dataset: Dataset,
    images: Tensor,
    *,
    batch_size: int = EVALUATION_BATCH,
) -> Tensor:
    """Logits (N, classes) float32 of images (N, 3, 32, 32) uint8, in batches."""
    with torch.inference_mode():
        return torch.cat([forward(dataset.normalize(batch)) for batch in images.split(batch_size)])


def ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """How many classes come before the right one, (N,) int64, of logits (N, classes).

    Of equal logits, which int8 makes common, the first class comes first, as for ``argmax``.
    """
    right = logits.gather(1, labels[:, None])
    earlier = torch.arange(logits.shape[1]) < labels[:, None]
    return ((logits > right) | ((logits == right) & earlier)).sum(dim=1)


def accuracy(logits: Tensor, split: Split) -> tuple[float, float]:
    """Top-1 accuracy and top-5 error in percent, of logits (N, classes) for a split of N images."""
    rank = ranks(logits, split.labels)
    count = len(split)
    return 100 * int((rank == 0).sum()) / count, 100 * int((rank >= 5).sum()) / count


def progress_bar(console: Console | None) -> Progress:
    """A bar with epoch, loss, speed and time left."""
    return Progress(
        TextColumn("{task.description}  epoch {task.fields[epoch]}/{task.fields[epochs]}"),
        BarColumn(),
        TextColumn("loss {task.fields[loss]:.3f}  {task.fields[speed]:.0f} images/s"),
        TimeRemainingColumn(),
        console=console,
        disable=console is None,
    )


def save_state(path: Path, model: nn.Module, optimizer: torch.optim.SGD, epochs: int) -> None:
    """Write what a resumed run needs: weights, statistics and momentum, in one atomic file."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        tensors[f"momentum.{name}"] = optimizer.state[parameter]["momentum_buffer"]
    with store.replacing(path) as scratch:
        save_file(
            {name: value.detach().cpu().contiguous() for name, value in tensors.items()},
            scratch,
            metadata={"epochs": json.dumps(epochs)},
        )


def restore(path: Path, model: nn.Module, optimizer: torch.optim.SGD) -> int:
    """Read what ``save_state`` wrote and return the epochs done, 0 where there is nothing.

    Raises:
        UserError: the file is damaged.
    """
    if not path.exists():
        return 0
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            epochs = int(json.loads(file.metadata()["epochs"]))
        prefix = "model."
        model.load_state_dict(
            {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        )
        for name, parameter in model.named_parameters():
            # zeros_like keeps the parameter's memory format, which the file does not know.
            momentum = torch.zeros_like(parameter).copy_(tensors[f"momentum.{name}"])
            optimizer.state[parameter]["momentum_buffer"] = momentum
    except (SafetensorError, RuntimeError, KeyError, ValueError, TypeError):
        raise UserError(f"training state {path} is damaged: delete it to start afresh") from None
    return epochs
