"""A small network that names the shape in a noisy grey image. `python shapes.py` trains it."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

WEIGHTS = Path(__file__).with_name("shapes.safetensors")


def draw(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images (count, 1, 32, 32) float32, and their labels: disc, square, cross, ring."""
    generator = torch.Generator().manual_seed(seed)
    size, x, y = torch.rand(3, count, 1, 1, generator=generator)
    size, grid = 5 + 5 * size, torch.arange(32.0)
    dx, dy = (grid - 12 - 8 * x).abs(), (grid[:, None] - 12 - 8 * y).abs()
    radius, longer, shorter = torch.hypot(dx, dy), torch.maximum(dx, dy), torch.minimum(dx, dy)
    cross = (longer < size) & (shorter < size / 3)
    ring = (radius < size) & (radius > size / 2)
    shapes = torch.stack([radius < size, longer < size, cross, ring])
    labels = torch.arange(count) % 4
    noise = 0.7 * torch.randn(count, 32, 32, generator=generator)
    return (shapes[labels, torch.arange(count)] + noise)[:, None], labels


def build() -> nn.Sequential:
    """The network, with random weights."""

    def stage(inputs: int, outputs: int) -> list[nn.Module]:
        convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]

    layers = [*stage(1, 32), nn.MaxPool2d(2), *stage(32, 64), *stage(64, 64)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(1024, 4))


def load() -> nn.Sequential:
    """The trained network, in eval mode."""
    network = build()
    network.load_state_dict(load_file(WEIGHTS))
    return network.eval()


def train(steps: int = 120) -> None:
    """Train on new images in each step, and store the weights."""
    torch.manual_seed(0)
    network = build()
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=steps)
    for step in range(steps):
        images, labels = draw(128, seed=1000 + step)
        loss = nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    save_file(network.state_dict(), WEIGHTS)


if __name__ == "__main__":
    train()
