"""The layout of int8 weights in compiled graphs for any number of images."""

from functools import cache
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch._inductor.pattern_matcher import Match

# Of Inductor's passes that freeze a graph, the one after those that lay out weights.
_AFTER_PACKING = 2


@cache
def register() -> None:
    """Have Inductor lay out int8 weights for the images of a graph, whatever their number.

    Without a shape, oneDNN lays them out for an image that it assumes. Inductor gives it no shape
    where the number of images varies (torch 2.15). With AMX or AVX-VNNI, oneDNN then reorders many
    weights in every forward.
    """
    if not torch.backends.mkldnn.is_available():
        return
    from torch._inductor.fx_passes.freezing_patterns import register_freezing_graph_pattern
    from torch._inductor.pattern_matcher import Arg, CallFunction

    # Weight, scales, zero point, stride, padding, dilation, groups, and the shape of images.
    arguments = [Arg() for _ in torch.ops.onednn.qconv_prepack.default._schema.arguments]
    packing = CallFunction(torch.ops.onednn.qconv_prepack, *arguments)
    register_freezing_graph_pattern(packing, pass_number=_AFTER_PACKING)(_lay_out)


def _lay_out(match: "Match", *_: Any) -> None:
    node: Any = match.output_node()
    if node.args[-1] is None:
        convolution = next(iter(node.users))
        _images, *sizes = convolution.args[0].meta["val"].shape
        # oneDNN chooses the same layout for any number of images.
        node.args = (*node.args[:-1], [1, *map(int, sizes)])
