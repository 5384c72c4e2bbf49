import torch
from torch import nn

from qmodels.training import ema


def test_the_average_follows_the_weights_exponentially() -> None:
    model = nn.Linear(1, 1, bias=False)
    average = ema.start(model, steps=4)
    expected = None
    for value in (1.0, 2.0, 5.0, -3.0):
        with torch.no_grad():
            model.weight.fill_(value)
        average.update_parameters(model)
        expected = value if expected is None else 0.75 * expected + 0.25 * value
    assert average.module.get_parameter("weight").item() == torch.tensor(expected).item()
    assert model.weight.item() == -3.0


def test_statistics_are_those_of_the_averaged_weights() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4))
    average = ema.start(model, steps=10)
    average.update_parameters(model)
    with torch.no_grad():
        model.get_parameter("0.weight").mul_(
            100
        )  # the live model's activations are of another scale by now
    average.update_parameters(model)
    batches = [torch.randn(16, 3, 8, 8) for _ in range(5)]
    model(batches[0])
    done = ema.with_statistics(average, batches)
    with torch.no_grad():
        out = done[0](torch.cat(batches))  # type: ignore[index]
    torch.testing.assert_close(done[1].running_mean, out.mean(dim=(0, 2, 3)), rtol=0.01, atol=0.01)  # type: ignore[index]
    torch.testing.assert_close(done[1].running_var, out.var(dim=(0, 2, 3)), rtol=0.05, atol=0.01)  # type: ignore[index]
