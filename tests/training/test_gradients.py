import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from qmodels.network import resnet
from qmodels.quantize import fake_quantize
from qmodels.system.errors import UserError
from qmodels.training.gradients import Accumulator


class Memory:
    """A summed loss that runs out of memory when more images pass than fit."""

    def __init__(self, model: nn.Module, fits: int) -> None:
        self.model = model
        self.fits = fits
        self.passed: list[int] = []

    def __call__(self, images: Tensor, targets: Tensor) -> Tensor:
        logits = self.model(images)  # statistics have moved by the time it fails
        if len(images) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.passed.append(len(images))
        return functional.cross_entropy(logits, targets, reduction="sum")


def network(*, quantized: bool) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = resnet.build("resnet34", 4, 10)
    model = fake_quantize.prepare(model) if quantized else model.train()
    with torch.no_grad():
        model(torch.randn(8, 3, 16, 16))
    return model


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(16, 3, 16, 16, generator=generator), torch.eye(10)[torch.arange(16) % 10]


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize(("fits", "sizes"), [(8, [8]), (3, [8, 4, 2])])
def test_running_out_of_memory_halves_what_passes_and_changes_no_gradient(
    quantized: bool, fits: int, sizes: list[int]
) -> None:
    models = [network(quantized=quantized) for _ in range(2)]
    for model in models:
        fake_quantize.observe(model, enabled=False)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
    undisturbed, short = models
    halvings: list[int] = []
    whole = Accumulator(16, halvings.append)
    loss = whole.backward(undisturbed, Memory(undisturbed, 16), *batch(), None)
    assert halvings == []
    accumulator = Accumulator(16, halvings.append)
    memory = Memory(short, fits)
    same_loss = accumulator.backward(short, memory, *batch(), None)
    assert halvings == sizes
    assert memory.passed == [sizes[-1]] * (16 // sizes[-1])
    torch.testing.assert_close(same_loss, loss)
    for before, after in zip(undisturbed.parameters(), short.parameters(), strict=True):
        assert before.grad is not None
        torch.testing.assert_close(after.grad, before.grad, rtol=1e-3, atol=1e-4)
    halvings.clear()
    accumulator.backward(short, memory, *batch(), None)
    assert halvings == [], "the size that fits is kept"


def test_a_retried_batch_leaves_what_one_of_that_size_would_have_from_the_start() -> None:
    """Batch norms and observers, too: two groups have moved them when the third fails."""
    undisturbed, short = (network(quantized=True) for _ in range(2))
    loss = Accumulator(2, print).backward(undisturbed, Memory(undisturbed, 16), *batch(), 4)
    halvings: list[int] = []

    class FailsOnce(Memory):
        def __call__(self, images: Tensor, targets: Tensor) -> Tensor:
            self.fits = 0 if self.passed == [4, 4] and len(images) == 4 else 16
            return super().__call__(images, targets)

    memory = FailsOnce(short, 16)
    same_loss = Accumulator(8, halvings.append).backward(short, memory, *batch(), 4)
    assert halvings == [2]
    assert memory.passed == [4, 4] + [2] * 8
    assert torch.equal(same_loss, loss)
    for (name, value), other in zip(
        undisturbed.state_dict().items(), short.state_dict().values(), strict=True
    ):
        assert torch.equal(value, other), name
    for before, after in zip(undisturbed.parameters(), short.parameters(), strict=True):
        assert before.grad is not None
        assert after.grad is not None
        assert torch.equal(before.grad, after.grad), "nothing of the failed try is left"


def test_a_single_image_that_does_not_fit_is_one_line() -> None:
    model = network(quantized=False)
    with pytest.raises(UserError, match="out of GPU memory with a single image") as caught:
        Accumulator(4, lambda size: None).backward(model, Memory(model, 0), *batch(), None)
    assert "\n" not in str(caught.value)
