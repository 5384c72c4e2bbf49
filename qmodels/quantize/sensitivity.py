"""Which layers lose most when they are quantized: each alone, in reference arithmetic.

A layer is a convolution or linear layer; quantizing it rounds its weights, per channel, and its
input, by a range of histograms, as static quantization does. The loss is the Kullback-Leibler
divergence of the predictions from those in float32, which needs no labels.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qmodels.network.evaluation import sqnr_db
from qmodels.network.fusion import fuse
from qmodels.network.images import batch_size
from qmodels.quantize import histograms
from qmodels.system.errors import Unavailable

_ACTIVATION_LEVELS = (0, 255)
_WEIGHT_LEVELS = (-128, 127)
_BATCH = 250
_RANKING_IMAGES = 300


@dataclass(frozen=True)
class LayerSensitivity:
    """The effect of quantizing one layer alone.

    Attributes:
        weights: how many it has.
        loss: mean divergence of the predictions, in nats.
        sqnr_db: signal to quantization noise of the logits, in decibels.
        changed: share of the images whose first prediction changes.
    """

    name: str
    weights: int
    loss: float
    sqnr_db: float
    changed: float


class Simulation:
    """A fused float network any of whose layers can be rounded."""

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        """Observe the inputs of all layers on images (N, 3, 32, 32) float32, normalized."""
        self.images = images
        self.network = fuse(model)
        self.layers = {
            name: module
            for name, module in self.network.named_modules()
            if isinstance(module, nn.Conv2d | nn.Linear)
        }
        observers = {name: histograms.HistogramObserver() for name in self.layers}
        with self.hooked(dict(observers)):
            histograms.observe(self.network, observers.values(), images)
        self.ranges = {name: observer.qparams() for name, observer in observers.items()}
        self.logits = self.predict(())

    @contextmanager
    def hooked(self, functions: dict[str, Callable[[Tensor], Tensor]]) -> Iterator[None]:
        """Pass the inputs of layers through functions while the block lasts."""
        handles = [
            self.layers[name].register_forward_pre_hook(
                lambda module, inputs, function=function: (function(inputs[0]),)
            )
            for name, function in functions.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def predict(self, rounded: Collection[str]) -> Tensor:
        """Logits (N, classes) float32 with some layers quantized."""

        def round_input(name: str) -> Callable[[Tensor], Tensor]:
            return lambda x: torch.fake_quantize_per_tensor_affine(
                x, *self.ranges[name], *_ACTIVATION_LEVELS
            )

        kept = {name: self.layers[name].weight.data for name in rounded}
        try:
            for name, weight in kept.items():
                self.layers[name].weight.data = _round_weight(weight)
            with (
                self.hooked({name: round_input(name) for name in rounded}),
                torch.inference_mode(),
            ):
                size = batch_size(self.images.shape[1:], most=_BATCH)
                return torch.cat([self.network(some) for some in self.images.split(size)])
        finally:
            for name, weight in kept.items():
                self.layers[name].weight.data = weight

    def alone(self, name: str) -> LayerSensitivity:
        """Quantize one layer alone, and measure the effect."""
        logits = self.predict((name,))
        return LayerSensitivity(
            name=name,
            weights=self.layers[name].weight.numel(),
            loss=divergence(logits, self.logits),
            sqnr_db=sqnr_db(logits, self.logits),
            changed=float((logits.argmax(1) != self.logits.argmax(1)).float().mean()),
        )


def _round_weight(weight: Tensor) -> Tensor:
    """A weight (out, ...) at the levels of symmetric int8, a scale for each output channel."""
    scale = weight.abs().flatten(1).amax(1).clamp_min(1e-12) / _WEIGHT_LEVELS[1]
    zeros = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zeros, 0, *_WEIGHT_LEVELS)


def divergence(logits: Tensor, reference: Tensor) -> float:
    """Mean Kullback-Leibler divergence of predictions from the reference's, in nats."""
    log, right = logits.log_softmax(1), reference.log_softmax(1)
    return float(nn.functional.kl_div(log, right, log_target=True, reduction="batchmean"))


def expected_drop(logits: Tensor, reference: Tensor) -> float:
    """Points of top-1 that changed predictions are expected to lose.

    By the reference's own probabilities: where the first prediction changes, the chance that it
    was right is exchanged for that of another class. Needs no labels, and is never negative.
    """
    probabilities = reference.softmax(1)
    now = probabilities.gather(1, logits.argmax(1, keepdim=True))
    return 100 * float((probabilities.amax(1, keepdim=True) - now).mean())


def rank(
    model: nn.Module, images: Tensor, *, progress: Callable[[str], None] = lambda name: None
) -> list[LayerSensitivity]:
    """Every layer of a float model in eval mode, the most sensitive one first.

    Args:
        images: (N, 3, 32, 32) float32, normalized; a few hundred of the training split.
        progress: called with the name of each layer before its turn.
    """
    simulation = Simulation(model, images)
    layers = []
    for name in simulation.layers:
        progress(name)
        layers.append(simulation.alone(name))
    return sorted(layers, key=lambda layer: -layer.loss)


def left_in_float(model: nn.Module, images: Tensor, most_points: float) -> Sequence[str]:
    """The fewest of the most sensitive layers that, left in float, keep the expected drop small.

    Args:
        images: (N, C, H, W) float32, normalized. The first ``_RANKING_IMAGES`` rank the layers, or
            as many as fit in a batch. The expected drop is measured on all of them.
        most_points: of top-1 that quantizing all the others may be expected to lose.

    Raises:
        Unavailable: the model gives no logits (N, classes), whose changes rank the layers.

    Bisects how many of the ranking stay float; with all of them in float nothing is lost.
    """
    with torch.inference_mode():
        outputs = model(images[:1])
    if outputs.dim() != 2 or outputs.shape[1] < 2:
        given = ", ".join(map(str, outputs.shape))
        raise Unavailable(
            f"layers are ranked by changes of the likeliest class, and the network gives ({given}) "
            "for an image: choose a variant that quantizes all layers"
        )
    count = batch_size(images.shape[1:], most=_RANKING_IMAGES)
    names = [layer.name for layer in rank(model, images[:count])]
    simulation = Simulation(model, images)
    too_few, enough = -1, len(names)
    while enough - too_few > 1:
        tried = (too_few + enough) // 2
        logits = simulation.predict(names[tried:])
        if expected_drop(logits, simulation.logits) <= most_points:
            enough = tried
        else:
            too_few = tried
    return names[:enough]
