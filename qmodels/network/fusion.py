"""Fold batch norms into convolutions, and join the ReLUs after them.

In eval mode a batch norm is an affine map of each channel. So a convolution followed by one is a
convolution with other weights. Static quantization needs the fusion: a fused module has one output,
which is quantized once. Source: Jacob et al., "Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference", 2018, section 3.2.
"""

import copy
from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from qmodels.network import eager_quantization
from qmodels.system.errors import UserError

_FUSIBLE = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU)
Module = TypeVar("Module", bound=nn.Module)


def fuse(model: Module) -> Module:
    """A copy of a model in which every declared fusion group is one module, for inference.

    Groups are what modules list in ``fusion_groups``: convolution + batch norm, convolution +
    batch norm + ReLU, batch norm + ReLU. The first module of a group becomes the fused one, the
    others ``Identity``, so parameters and buffers of folded batch norms are gone. A model that is
    fused already comes back unchanged.

    Raises:
        UserError: the model is in training mode, where batch norm depends on the batch.
    """
    if model.training:
        raise UserError("a model in training mode can't be fused: call model.eval() first")
    return join_groups(copy.deepcopy(model), eager_quantization.fuse_modules)


def groups(model: nn.Module) -> list[tuple[str, ...]]:
    """Every declared fusion group of a model, by the full names of its modules."""
    return [
        tuple(f"{prefix}.{name}".lstrip(".") for name in group)
        for prefix, module in model.named_modules()
        for group in getattr(module, "fusion_groups", ())
    ]


def fuse_for_training(model: Module) -> Module:
    """A copy, in training mode, whose groups are joined but keep their batch norms.

    What quantization-aware training starts from; it folds them anew in every forward.
    """
    return join_groups(copy.deepcopy(model).train(), eager_quantization.fuse_modules_qat)


def join_groups(model: Module, fuse_modules: Callable[..., Any]) -> Module:
    """Replace each declared group of a model by one module, in place, by a function of torch's."""
    with eager_quantization.suppress_deprecations():
        for module in list(model.modules()):
            for group in getattr(module, "fusion_groups", ()):
                # Exact types: subclasses, fused modules and Identity are left alone.
                if all(type(module.get_submodule(name)) in _FUSIBLE for name in group):
                    fuse_modules(module, list(group), inplace=True)
    return model
