"""Weights of four bits, for size: float32 arithmetic on weights that are small on disk.

Rounding to the nearest level would lose accuracy. Here the rounding error of each column is
compensated by the columns after it, as the correlation of the inputs allows. Source: Frantar,
Ashkboos, Hoefler and Alistarh, "GPTQ: Accurate Post-Training Quantization for Generative
Pre-trained Transformers", 2022.
"""

from collections import Counter

import torch
from torch import Tensor, nn

from qmodels.backends import packed
from qmodels.backends.packed import Rounded, dequantize
from qmodels.network.fusion import fuse
from qmodels.network.images import BATCH_VALUES, batch_size
from qmodels.variants.registry import variant

# Images whose windows are kept at a time: nine values of each input, for kernels of 3x3. Of larger
# images fewer.
_BATCH = 100
_WINDOW_VALUES = BATCH_VALUES // 4
# The windows of a layer that its sums are made of, at least. A thousand images of 32x32 have fewer.
MOST_WINDOWS = 2**20
# The ends of the network, a hundredth of its weights, lose most, and keep eight bits.
_ENDS_BITS, _BITS = 8, 4
# Columns whose errors the columns after them make up for at once, as in the paper.
BLOCK = 128
_DAMPING = 0.01  # of the mean squared input, as in the paper
_SHRINKING = [1 - 0.05 * step for step in range(13)]


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
    ends = (*list(layers)[:1], *list(layers)[-1:])
    with torch.no_grad():
        squares = squared_inputs(network, layers, calibration)
        for name, layer in layers.items():
            bits = _ENDS_BITS if name in ends else _BITS
            key = f"{name}.weight"
            groups = [
                round_weights(weight, products, bits)
                for weight, products in zip(
                    layer.weight.chunk(_groups_of(layer)), squares.pop(name), strict=True
                )
            ]
            levels[key], scales[key] = (torch.cat(parts) for parts in zip(*groups, strict=True))
            layer.weight.copy_(dequantize(levels[key], scales[key]))
    return Rounded(network, levels, scales)


def squared_inputs(
    network: nn.Module, layers: dict[str, nn.Conv2d | nn.Linear], images: Tensor
) -> dict[str, Tensor]:
    """Sums over positions of the products of a layer's inputs, float32.

    Of shape (groups, inputs, inputs): a group of channels has its own inputs. An input of a
    convolution is one value of its window.
    """
    sums: dict[str, Tensor] = {}
    counts: Counter[str] = Counter()

    def add(name: str, layer: nn.Conv2d | nn.Linear, x: Tensor) -> None:
        if counts[name] >= MOST_WINDOWS:
            return
        if isinstance(layer, nn.Conv2d):
            x = windows(layer, x)
        x = x.flatten(0, -2)
        counts[name] += len(x)
        products = [part.T @ part for part in x.chunk(_groups_of(layer), dim=1)]
        sums[name] = sums.get(name, 0) + torch.stack(products)

    handles = [
        layer.register_forward_pre_hook(lambda module, x, name=name: add(name, module, x[0]))
        for name, layer in layers.items()
    ]
    size = batch_size(images.shape[1:], most=_BATCH, values=_WINDOW_VALUES)
    for batch in images.split(size):
        network(batch)
    for handle in handles:
        handle.remove()
    return sums


def _groups_of(layer: nn.Conv2d | nn.Linear) -> int:
    return layer.groups if isinstance(layer, nn.Conv2d) else 1


def windows(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """The inputs of each output of a convolution, (N, positions, inputs) float32."""
    kernel, dilation = layer.kernel_size, layer.dilation
    if layer.padding == "same":
        # As torch pads: of an odd number the larger part comes last.
        totals = [step * (side - 1) for side, step in zip(kernel, dilation, strict=True)]
        padding = [part for total in totals[::-1] for part in (total // 2, total - total // 2)]
    elif isinstance(layer.padding, str):  # "valid"
        padding = [0, 0]
    else:
        padding = [part for side in layer.padding[::-1] for part in (side, side)]
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = nn.functional.pad(x, padding, mode)
    unfolded = nn.functional.unfold(padded, kernel, dilation=dilation, stride=layer.stride)
    return unfolded.transpose(1, 2)


def round_weights(weight: Tensor, squares: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Levels int8 of a weight's shape and scales (out,) float16.

    Args:
        weight: (out, ...) float32.
        squares: (inputs, inputs), of ``squared_inputs``, of one group.
        bits: of a level.
    """
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    # The inputs that matter most first, while there are many left to make up for them.
    order = torch.argsort(squares.diag(), descending=True)
    squares = squares[order][:, order].double()
    # At least as much that inputs which are always 0 can be divided by.
    squares += torch.eye(len(order)) * (_DAMPING * squares.diag().mean()).clamp_min(1e-12)
    rows = weight.detach().flatten(1)[:, order].clone()
    scales = _best_scales(rows, squares.float(), lowest, highest)
    # Row k of the inverse's Cholesky factor: how the columns after k compensate column k.
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(squares))
    factor = torch.linalg.cholesky(inverse, upper=True).float()
    step = scales.float()
    levels = torch.empty_like(rows)
    for start in range(0, rows.shape[1], BLOCK):
        end = min(start + BLOCK, rows.shape[1])
        errors = torch.empty_like(rows[:, start:end])
        for column in range(start, end):
            levels[:, column] = (rows[:, column] / step).round().clamp(lowest, highest)
            error = (rows[:, column] - levels[:, column] * step) / factor[column, column]
            rows[:, column + 1 : end] -= error[:, None] * factor[column, column + 1 : end]
            errors[:, column - start] = error
        rows[:, end:] -= errors @ factor[start:end, end:]
    return levels[:, torch.argsort(order)].to(torch.int8).view(weight.shape), scales


def _best_scales(rows: Tensor, squares: Tensor, lowest: int, highest: int) -> Tensor:
    """Scales (out,) float16 by which rounding rows (out, inputs) to the nearest errs least.

    Tried are ranges from the whole of a row's down to two fifths of it.
    """
    largest = rows.abs().amax(1)
    best = torch.full_like(largest, torch.inf)
    scales = torch.ones_like(largest, dtype=torch.float16)
    for shrinking in _SHRINKING:
        tried = (largest * shrinking / highest).clamp_min(1e-7).half()
        step = tried.float()[:, None]
        error = (rows / step).round().clamp(lowest, highest) * step - rows
        cost = ((error @ squares) * error).sum(1)
        scales = torch.where(cost < best, tried, scales)
        best = torch.minimum(cost, best)
    return scales
