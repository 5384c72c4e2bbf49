"""Fold batch norms into the convolutions before them.

In eval mode a batch norm is an affine map of each channel. So a convolution followed by one is a
convolution with other weights. Source: Jacob et al., "Quantization and Training of Neural Networks
for Efficient Integer-Arithmetic-Only Inference", 2018, section 3.2.
"""

import copy
from collections import Counter
from typing import TypeVar

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from qmodels.system.errors import UserError

Module = TypeVar("Module", bound=nn.Module)

# What follows one another and is computed at once, and the beginnings of that.
_PREFIXES: frozenset[tuple[type[nn.Module], ...]] = frozenset(
    {
        (nn.Conv2d, nn.BatchNorm2d),
        (nn.Conv2d, nn.BatchNorm2d, nn.ReLU),
        (nn.Conv2d, nn.ReLU),
        (nn.BatchNorm2d, nn.ReLU),
    }
)


def fuse(model: Module) -> Module:
    """A copy of a model whose batch norms behind convolutions are folded into them, for inference.

    Batch norms that are gone are ``Identity``. What torch.fx can't trace is left as it is.

    Raises:
        UserError: the model is in training mode, where batch norm depends on the batch.
    """
    if model.training:
        raise UserError("a model in training mode can't be fused: call model.eval() first")
    fused = copy.deepcopy(model)
    for first, second, *_ in chains(fused):
        convolution, norm = fused.get_submodule(first), fused.get_submodule(second)
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            fused.set_submodule(first, fuse_conv_bn_eval(convolution, norm))
            fused.set_submodule(second, nn.Identity())
    return fused


def chains(model: nn.Module) -> tuple[tuple[str, ...], ...]:
    """Names of convolutions, batch norms and ReLUs that follow one another, each called once.

    None where torch.fx can't trace the model.
    """
    try:
        traced = fx.symbolic_trace(model)
    except Exception:  # whatever the model's code does with a tensor that has no values
        return ()
    return chains_of(traced)


def chains_of(traced: fx.GraphModule) -> tuple[tuple[str, ...], ...]:
    """``chains`` of a model that was traced."""
    called = [node for node in traced.graph.nodes if node.op == "call_module"]
    kinds = {node: type(traced.get_submodule(str(node.target))) for node in called}
    count = Counter(node.target for node in called)
    names: list[tuple[str, ...]] = []
    chained: set[fx.Node] = set()
    for node in called:
        chain = [node]
        while len(chain[-1].users) == 1:
            user = next(iter(chain[-1].users))
            if (*map(kinds.get, chain), kinds.get(user)) not in _PREFIXES:
                break
            chain.append(user)
        fits = len(chain) > 1 and all(count[part.target] == 1 for part in chain)
        if fits and chained.isdisjoint(chain):
            names.append(tuple(str(part.target) for part in chain))
            chained.update(chain)
    return tuple(names)
