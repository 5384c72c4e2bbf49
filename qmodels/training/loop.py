"""The training loop: one for GPUs and CPUs, for float and for fake-quantized networks."""

import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import torch
from rich.console import Console
from torch import Generator, Tensor, nn
from torch.nn import functional

from qmodels.network import resnet
from qmodels.network.evaluation import accuracy, predict
from qmodels.quantize import fake_quantize
from qmodels.system import files, machine, store
from qmodels.system.errors import UserError
from qmodels.training import arithmetic, checkpoints, distributed, ema, loader, state
from qmodels.training.checkpoints import Checkpoint
from qmodels.training.distributed import Workers
from qmodels.training.gradients import Accumulator
from qmodels.training.job import Job
from qmodels.training.loader import TrainLoader
from qmodels.training.progress import Reporter
from qmodels.training.recipes import Recipe
from qmodels.training.state import State


def train(job: Job, *, console: Console | None = None) -> Checkpoint:
    """Train into the cache, going on from where a killed run of the same job stopped.

    Returns:
        The checkpoint, with its accuracy on the test split after the last epoch. What the cache
        has already is not trained again.

    Raises:
        UserError: unknown architecture or width, a batch that processes can't share, no memory, a
            loss that is no longer finite, no disk space.
    """
    resnet.check(job.architecture, job.width)
    with distributed.join() as workers, torch.random.fork_rng(devices=[]):
        description = job.description
        path = state_path(description, workers)
        with files.lock(path) if workers.is_main else nullcontext():
            finished = workers.broadcast_object(checkpoints.find_finished(description))
            if finished is None:
                finished = _fit(
                    job, description, path, workers, console if workers.is_main else None
                )
            elif console is not None and workers.is_main:
                console.print(
                    f"trained before: delete {finished.path} to train again", soft_wrap=True
                )
    return finished


def _fit(
    job: Job, description: Checkpoint, path: Path, workers: Workers, console: Console | None
) -> Checkpoint:
    recipe, device = job.recipe, workers.device
    torch.manual_seed(job.seed)
    data = loader.load(job.dataset, recipe, job.seed, device, memory_format(job.width, device))
    model, teacher = _networks(job, workers, data)
    optimizer = sgd(model, recipe)
    steps = len(data.labels) // recipe.batch_size
    average = ema.start(model, recipe.averaging * steps) if recipe.averaging else None
    everything = State(model, optimizer, average)
    done = workers.broadcast_object(state.restore(path, everything) if workers.is_main else 0)
    workers.broadcast(list(everything.tensors().values()))
    # Fake-quantized modules and collectives inside batch norms break the graph.
    compiles = machine.compilation_pays(device) and workers.count == 1
    forward = torch.compile(model) if compiles and not job.quantization_aware else model
    teach = torch.compile(teacher) if compiles and teacher is not None else teacher
    precision = (
        workers.broadcast_object(state.precision(path) if workers.is_main else None)
        or job.precision
    )
    if precision is None:
        images = _probe_images(data, job.seed)
        precision = workers.broadcast_object(arithmetic.choose(model.train(), images, job.bfloat16))
    description = replace(description, precision=precision)

    def summed_loss(images: Tensor, targets: Tensor) -> Tensor:
        with arithmetic.context(description.precision, device):
            logits = forward(images)
            loss = functional.cross_entropy(
                logits, targets, label_smoothing=recipe.label_smoothing, reduction="sum"
            )
            if teach is not None:
                with torch.no_grad():
                    taught = teach(images)
                divergence = distillation_loss(logits, taught, recipe.temperature)
                loss = recipe.distillation * divergence + (1 - recipe.distillation) * loss
        return loss / recipe.batch_size

    log = path.with_suffix(".log") if workers.is_main else None
    with Reporter(job.name, recipe, steps, done, log=log, console=console) as reporter:

        def halved(size: int) -> None:
            workers.require_single_process(
                "out of GPU memory: start more processes, or choose a smaller --width"
            )
            seen = recipe.statistics_batch or recipe.batch_size
            caveat = f"; batch norm sees those instead of {seen}" if moving and size < seen else ""
            reporter.say(f"out of memory: going on with {size} images at a time{caveat}")

        accumulator = Accumulator(recipe.batch_size // workers.count, halved)
        for epoch in range(done, recipe.epochs):
            # Seeded by epoch, so that a resumed run draws what an undisturbed one does.
            generator = Generator().manual_seed(job.seed * 100_003 + epoch)
            order = torch.randperm(len(data.labels), generator=generator)
            total_loss = torch.zeros((), device=device)
            moving = enter_epoch(model, recipe, epoch)
            reporter.begin_epoch()
            for index in range(steps):
                chosen = order[index * recipe.batch_size : (index + 1) * recipe.batch_size]
                images, targets = data.batch(chosen, epoch, generator)
                for group in optimizer.param_groups:
                    group["lr"] = recipe.lr(epoch * steps + index, recipe.epochs * steps)
                total_loss += accumulator.backward(
                    model,
                    summed_loss,
                    workers.shard(images),
                    workers.shard(targets),
                    most_images=recipe.statistics_batch if moving else None,
                )
                workers.all_reduce_gradients(model)
                optimizer.step()
                if average is not None:
                    average.update_parameters(model)
                reporter.step(epoch, index + 1, total_loss * workers.count)
            mean_loss = float(workers.all_reduce(total_loss)) / steps
            if not math.isfinite(mean_loss):
                raise UserError(
                    f"training {job.name}: the loss of epoch {epoch + 1} is {mean_loss}; "
                    f"epoch {epoch} is kept in {path}: train with another --seed or recipe"
                )
            if workers.is_main:
                state.save(path, everything, epoch + 1, description.precision)
            reporter.end_epoch(epoch, mean_loss)

        if average is not None:
            model = ema.with_statistics(average, _statistics_batches(data, job.seed))
        if workers.is_main:
            description = _finish(job, model, description)
            reporter.write(
                f"top-1 {description.top1:.2f} %  top-5 error {description.top5_error:.2f} %"
            )
            if device.type == "cuda":
                reporter.say(f"peak memory {torch.cuda.max_memory_allocated() / 1e9:.2f} GB")
            path.unlink(missing_ok=True)
    return workers.broadcast_object(description)


def memory_format(width: int, device: torch.device) -> torch.memory_format:
    """Channels last, which is faster, except where oneDNN writes past its buffers.

    It does so for weights' gradients of strided 1x1 convolutions of fewer than 16 channels, and
    computes some of these wrong (oneDNN issue 6035).
    """
    narrow = device.type == "cpu" and width < 16
    return torch.contiguous_format if narrow else torch.channels_last


def _probe_images(data: TrainLoader, seed: int) -> Tensor:
    chosen = torch.arange(min(arithmetic.PROBE_IMAGES, len(data.labels)))
    return data.augment(chosen, data.recipe.epochs - 1, Generator().manual_seed(seed))


def state_path(description: Checkpoint, workers: Workers) -> Path:
    """Where the state of an unfinished job is kept; another device's rounding is another job's."""
    record = {**asdict(description), "folder": None}
    digest = store.digest_value(
        {**record, "device": workers.device.type, "processes": workers.count}
    )
    return store.cache_dir("training") / f"{Path(description.file).stem}-{digest[:12]}.safetensors"


def _networks(job: Job, workers: Workers, data: TrainLoader) -> tuple[nn.Module, nn.Module | None]:
    if job.recipe.batch_size % workers.count:
        raise UserError(
            f"{workers.count} processes can't share batches of {job.recipe.batch_size}: "
            "start a number that divides it"
        )
    model: nn.Module
    if job.parent is None:
        model = resnet.build(job.architecture, job.width, job.dataset.classes)
    else:
        model = checkpoints.load_model(job.parent)
    teacher = None
    if job.recipe.distillation:
        taught_by = job.teacher or job.parent
        assert taught_by is not None, "a recipe that distills has a teacher"
        teacher = checkpoints.load_model(taught_by)
        teacher.to(workers.device).to(memory_format=data.memory_format)
    if job.quantization_aware:
        workers.require_single_process(
            "quantization-aware training runs in one process: leave out torchrun"
        )
        model = fake_quantize.prepare(model)
    model.to(workers.device).to(memory_format=data.memory_format)
    if workers.count > 1:
        distributed.share_statistics(model)
    if job.quantization_aware:
        # Gives every range a first value.
        first = torch.arange(job.recipe.statistics_batch or job.recipe.batch_size)
        with torch.no_grad():
            model(data.augment(first, 0, Generator().manual_seed(job.seed)))
    return model, teacher


def enter_epoch(model: nn.Module, recipe: Recipe, epoch: int) -> bool:
    """Put a model in training mode, frozen as the recipe says; whether anything moves by itself."""
    statistics_move = recipe.before(recipe.batch_norm_until, epoch)
    ranges_move = recipe.before(recipe.observers_until, epoch)
    model.train()
    if not statistics_move:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
    fake_quantize.observe(model, ranges_move)
    return statistics_move or ranges_move


def sgd(model: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """SGD with Nesterov momentum; weight decay for weights, none for batch norms and biases."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=recipe.peak_rate, momentum=0.9, nesterov=True)


def distillation_loss(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Summed divergence from a teacher's softened distribution, both logits (N, classes).

    It is multiplied by the squared temperature, so that its gradients keep their size at every
    temperature (Hinton et al., "Distilling the Knowledge in a Neural Network", 2015).
    """
    log_probs, teacher_log_probs = (
        functional.log_softmax(x.float() / temperature, dim=1) for x in (logits, teacher_logits)
    )
    return temperature**2 * functional.kl_div(
        log_probs, teacher_log_probs, reduction="sum", log_target=True
    )


def _statistics_batches(data: TrainLoader, seed: int) -> Iterator[Tensor]:
    """Batches of augmented images, as the last epoch saw them but unmixed."""
    recipe = data.recipe
    generator = Generator().manual_seed(seed * 100_003 + recipe.epochs)
    order = torch.randperm(len(data.labels), generator=generator)
    for chosen in order.split(recipe.batch_size)[: ema.STATISTICS_BATCHES]:
        yield data.augment(chosen, recipe.epochs - 1, generator)


def _finish(job: Job, model: nn.Module, description: Checkpoint) -> Checkpoint:
    fake_quantize.observe(model, enabled=False)
    weights = checkpoints.from_storage(checkpoints.to_storage(model.state_dict()))
    stored = checkpoints.structure(description)
    stored.load_state_dict(weights)
    test = job.dataset.test
    logits = predict(stored, job.dataset.normalized(test.images))
    top1, top5_error = accuracy(logits, test.labels)
    return checkpoints.save(weights, replace(description, top1=top1, top5_error=top5_error))
