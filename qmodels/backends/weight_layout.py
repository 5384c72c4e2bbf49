"""The layout of int8 weights in compiled graphs for any number of images."""

from functools import cache
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch._inductor.pattern_matcher import Match

# Of Inductor's passes that freeze a graph, 0 and 1 lay out weights.
_AFTER_PACKING = 2


@cache
def register() -> None:
    """Have Inductor lay out int8 weights for the images of a graph, whatever their number.

    Without a shape, oneDNN lays them out for an image that it assumes. torchao gives it no shape
    where the number of images varies (torchao 0.18). With AMX or AVX-VNNI, oneDNN then reorders
    many weights in every forward.
    """
    if not hasattr(torch.ops.onednn, "qconv_prepack"):
        return
    from torch._inductor.fx_passes.freezing_patterns import register_freezing_graph_pattern
    from torch._inductor.pattern_matcher import Arg, CallFunction

    # Weight, scales, zero point, stride, padding, dilation, groups, and the shape of images.
    arguments = [Arg() for _ in torch.ops.onednn.qconv_prepack.default._schema.arguments]
    packing = CallFunction(torch.ops.onednn.qconv_prepack, *arguments)
    register_freezing_graph_pattern(packing, pass_number=_AFTER_PACKING)(_lay_out)


def _lay_out(match: "Match", *_: Any) -> None:
    node: Any = match.output_node()
    convolution = next(iter(node.users), None)
    if convolution is None or node.args[-1] is not None:
        return
    image = convolution.args[0].meta.get("val")
    # With AMX, AVX512, AVX-VNNI and AVX2, a layout for 1 image was as fast as one for 8.
    if image is not None and all(isinstance(size, int) for size in image.shape[1:]):
        node.args = (*node.args[:-1], [1, *image.shape[1:]])
