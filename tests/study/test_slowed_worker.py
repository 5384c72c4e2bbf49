import torch

from docs.study import slowed_worker
from qmodels.measure import memory


def test_slowed_models_give_the_same_logits_and_work_more() -> None:
    image = torch.ones(1, 3)
    slowed = slowed_worker.slowed(lambda batch_size: lambda: image * 2, {1: 50})(1)
    assert slowed().tolist() == [[2.0, 2.0, 2.0]]  # type: ignore[attr-defined]
    profiled = memory.profile(lambda images: slowed(), image)  # type: ignore[return-value,arg-type]
    calls = {row.name: row.calls for row in profiled.rows}
    assert (calls["aten::mul"], calls["aten::add"]) == (1, 50)
