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

# Chains of modules that runtimes compute at once, and how such chains begin.
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

    Batch norms that are gone are ``Identity``. What torch.fx can't trace is left as it is. So is a
    module that the model has under two names, or whose hooks or weights something else uses.

    Raises:
        UserError: the model is in training mode, where batch norm depends on the batch.
    """
    if model.training:
        raise UserError("a model in training mode can't be fused: call model.eval() first")
    fused = copy.deepcopy(model)
    names = Counter(module for _, module in fused.named_modules(remove_duplicate=False))
    for first, second, *_ in chains(fused):
        convolution, norm = fused.get_submodule(first), fused.get_submodule(second)
        if not (isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)):
            continue
        if all(names[each] == 1 and _is_plain(each) for each in (convolution, norm)):
            fused.set_submodule(first, fuse_conv_bn_eval(convolution, norm))
            fused.set_submodule(second, nn.Identity())
    return fused


def _is_plain(module: nn.Module) -> bool:
    """Whether a module in eval mode computes what its weights and statistics say, and no more."""
    has_hooks = bool(module._forward_hooks or module._forward_pre_hooks)
    has_statistics = getattr(module, "running_mean", module) is not None
    return not module.training and not has_hooks and has_statistics


def chains(model: nn.Module) -> tuple[tuple[str, ...], ...]:
    """Names of convolutions, batch norms and ReLUs that follow one another, each called once.

    There are none where torch.fx can't trace the model.
    """
    try:
        traced = fx.symbolic_trace(copy.deepcopy(model))  # a forward may keep what passes
    except Exception:  # whatever the model's code does with a tensor that has no values
        return ()
    return chains_of(traced)


def chains_of(traced: fx.GraphModule) -> tuple[tuple[str, ...], ...]:
    """``chains`` of a model that was traced."""
    called = [node for node in traced.graph.nodes if node.op == "call_module"]
    kinds = {node: type(traced.get_submodule(str(node.target))) for node in called}
    count = Counter(node.target for node in called)
    # Whose parameters the forward reads itself.
    read = {
        str(node.target).rpartition(".")[0] for node in traced.graph.nodes if node.op == "get_attr"
    }
    names: list[tuple[str, ...]] = []
    chained: set[fx.Node] = set()
    for node in called:
        chain = [node]
        while len(chain[-1].users) == 1:
            user = next(iter(chain[-1].users))
            if (*map(kinds.get, chain), kinds.get(user)) not in _PREFIXES:
                break
            chain.append(user)
        fits = len(chain) > 1 and all(
            count[part.target] == 1 and part.target not in read for part in chain
        )
        if fits and chained.isdisjoint(chain):
            names.append(tuple(str(part.target) for part in chain))
            chained.update(chain)
    return tuple(names)
