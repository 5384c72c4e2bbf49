from typing import Any

import pytest
import torch
from torch import nn
from torch.export import Dim

from qmodels.backends import weight_layout


def laid_out(shape: object, varying: dict[int, Any]) -> Any:
    """The shape that weights of a convolution are laid out for, of images whose sizes vary."""
    from torch._inductor.fx_passes.freezing_patterns import pass_patterns

    images = torch.zeros(2, 4, 6, 8)
    program = torch.export.export(nn.ReLU(), (images,), dynamic_shapes=(varying,))
    graph = program.graph
    (image,) = graph.find_nodes(op="placeholder")
    geometry = ([1, 1], [1, 1], [1, 1], 1)
    with graph.inserting_after(image):
        # The pass reads no values: the image stands for weights and scales as well.
        packed = graph.call_function(
            torch.ops.onednn.qconv_prepack, (image, image, 0.1, 0, *geometry, shape)
        )
    with graph.inserting_after(packed):
        graph.call_function(
            torch.ops.onednn.qconv_pointwise,
            (
                *(image, 0.1, 0, packed, image, image, None, *geometry),
                *(0.1, 0, torch.uint8, "none", [], ""),
            ),
        )
    weight_layout.register()
    for each in pass_patterns:
        each.apply(graph)
    return packed.args[-1]


@pytest.mark.parametrize(
    ("shape", "varying", "expected"),
    [
        (None, {0: Dim("batch")}, [1, 4, 6, 8]),
        (None, {0: Dim("batch"), 2: Dim("height", min=3)}, None),
        ([5, 4, 6, 8], {0: Dim("batch")}, [5, 4, 6, 8]),
    ],
    ids=["any number", "any height", "known"],
)
def test_weights_are_laid_out_for_an_image(
    shape: object, varying: dict[int, Any], expected: object
) -> None:
    assert laid_out(shape, varying) == expected
