"""Weights of four bits, for size: float32 arithmetic on weights that are small on disk.

Rounding to the nearest level would lose accuracy. Here the rounding error of each column is
compensated by the columns after it, as the correlation of the inputs allows. Source: Frantar,
Ashkboos, Hoefler and Alistarh, "GPTQ: Accurate Post-Training Quantization for Generative
Pre-trained Transformers", 2022.
"""

import torch
from torch import Tensor, nn

from qmodels.backends import packed
from qmodels.backends.packed import Rounded, dequantize
from qmodels.network.fusion import fuse
from qmodels.variants.registry import variant

BATCH = 100
# The ends of the network, a hundredth of its weights, lose most, and keep eight bits.
ENDS_BITS, BITS = 8, 4
DAMPING = 0.01  # of the mean squared input, as in the paper
SHRINKING = [1 - 0.05 * step for step in range(13)]


@variant(
    backend=packed.BACKEND,
    summary="weights in four bits on disk, float32 when it runs",
    structure=fuse,
    kernels={nn.Conv2d: ("aten::conv2d",)},
)
def weight_int4(model: nn.Module, calibration: Tensor) -> Rounded:
    """Round all weights, each layer for its inputs in the float network."""
    network = fuse(model)
    levels: dict[str, Tensor] = {}
    scales: dict[str, Tensor] = {}
    layers = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }
    first, *_, last = layers
    with torch.no_grad():
        squares = squared_inputs(network, layers, calibration)
        for name, layer in layers.items():
            bits = ENDS_BITS if name in (first, last) else BITS
            key = f"{name}.weight"
            levels[key], scales[key] = round_weights(layer.weight, squares.pop(name), bits)
            layer.weight.copy_(dequantize(levels[key], scales[key]))
    return Rounded(network, levels, scales)


def squared_inputs(
    network: nn.Module, layers: dict[str, nn.Conv2d | nn.Linear], images: Tensor
) -> dict[str, Tensor]:
    """Sums over all positions of the products of a layer's inputs, (inputs, inputs) float32.

    An input of a convolution is one value of its window.
    """
    sums: dict[str, Tensor] = {}

    def add(name: str, module: nn.Module, x: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            geometry = {"padding": module.padding, "stride": module.stride}
            windows = nn.functional.unfold(x, module.kernel_size, **geometry)  # type: ignore[arg-type]
            x = windows.transpose(1, 2).flatten(0, 1)
        sums[name] = sums.get(name, 0) + x.T @ x

    handles = [
        layer.register_forward_pre_hook(lambda module, x, name=name: add(name, module, x[0]))
        for name, layer in layers.items()
    ]
    for batch in images.split(BATCH):
        network(batch)
    for handle in handles:
        handle.remove()
    return sums


def round_weights(weight: Tensor, squares: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Levels int8 of a weight's shape and scales (out,) float16.

    Args:
        weight: (out, ...) float32.
        squares: (inputs, inputs), of ``squared_inputs``.
        bits: of a level.
    """
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    # The inputs that matter most first, while there are many left to make up for them.
    order = torch.argsort(squares.diag(), descending=True)
    squares = squares[order][:, order].double()
    squares += torch.eye(len(order)) * DAMPING * squares.diag().mean()
    rows = weight.detach().flatten(1)[:, order].clone()
    scales = best_scales(rows, squares.float(), lowest, highest)
    # Row k of the inverse's Cholesky factor: how the columns after k compensate column k.
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(squares))
    factor = torch.linalg.cholesky(inverse, upper=True).float()
    step = scales.float()
    levels = torch.empty_like(rows)
    for column in range(rows.shape[1]):
        levels[:, column] = (rows[:, column] / step).round().clamp(lowest, highest)
        error = (rows[:, column] - levels[:, column] * step) / factor[column, column]
        rows[:, column + 1 :] -= error[:, None] * factor[column, column + 1 :]
    return levels[:, torch.argsort(order)].to(torch.int8).view(weight.shape), scales


def best_scales(rows: Tensor, squares: Tensor, lowest: int, highest: int) -> Tensor:
    """Scales (out,) float16 by which rounding rows (out, inputs) to the nearest errs least.

    Tried are ranges from the whole of a row's down to two fifths of it.
    """
    largest = rows.abs().amax(1)
    best = torch.full_like(largest, torch.inf)
    scales = torch.ones_like(largest, dtype=torch.float16)
    for shrinking in SHRINKING:
        tried = (largest * shrinking / highest).clamp_min(1e-7).half()
        step = tried.float()[:, None]
        error = (rows / step).round().clamp(lowest, highest) * step - rows
        cost = ((error @ squares) * error).sum(1)
        scales = torch.where(cost < best, tried, scales)
        best = torch.minimum(cost, best)
    return scales
