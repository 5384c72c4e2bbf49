import torch

from qmodels.measure import memory
from qmodels.study import process


def test_slowed_models_give_the_same_logits_and_work_more() -> None:
    slowed = process.slowed(lambda images: images * 2, {1: 50})
    image = torch.ones(1, 3)
    assert slowed(image).tolist() == [[2.0, 2.0, 2.0]]
    calls = {row.name: row.calls for row in memory.profile(slowed, image).rows}
    assert (calls["aten::mul"], calls["aten::add"]) == (1, 50)
