"""What other packages bring: a backend with a variant in one file, and a network."""

import textwrap
from pathlib import Path

import torch
from torch import Tensor, nn

from qmodels.network import Network, open_network

# A runtime of its own, asked and built in processes of their own, as those that are not torch's.
RUNTIME = """
import torch
from qmodels.backends import dispatch
from qmodels.backends.base import Backend
from qmodels.variants import variant

class Halves(Backend):
    name = "halves"
    requires = ("json",)

    def save(self, model, folder):
        state = {name: v.bfloat16() if v.dim() > 1 else v for name, v in model.state_dict().items()}
        torch.save(state, folder / "model.pt")

    def load(self, artifact):
        model = artifact.modules()
        model.load_state_dict(torch.load(artifact.folder / "model.pt", weights_only=True))
        return model.eval()

    def kernels(self, forward, artifact, images):
        return dispatch.kernels(forward, images)

    def reference(self, model):
        return model

    def saturates(self):
        return None

BACKEND = Halves()

@variant(backend=BACKEND, summary="weights of 16 bits on disk")
def half_weights(model):
    return model
"""


def install(site: Path, package: str, module: str) -> Path:
    """Put a package of one module there, which an entry point names.

    Returns:
        The folder of its metadata.
    """
    (site / f"{package}.py").write_text(textwrap.dedent(module))
    info = site / f"my_{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: my-{package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[qmodels.variants]\npoint = {package}\n")
    return info


class Sides(nn.Module):
    """Which side of a grey image is brighter: no residuals."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 5, padding=2), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d((1, 2))
        self.classify = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classify(self.pool(self.features(x)).flatten(1))
        return logits


def trained() -> Sides:
    """Weights that need no training, always the same: each half's brightness is one logit."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Sides().eval()
    with torch.no_grad():
        model.get_parameter("features.0.weight").abs_()
        model.classify.weight.zero_()
        for side in (0, 1):
            model.classify.weight[side, side::2] = 1.0
    return model.requires_grad_(False)


def images(count: int) -> tuple[Tensor, Tensor]:
    """Noise (count, 1, 20, 24), brighter on the left of class 0, on the right of class 1."""
    generator = torch.Generator().manual_seed(count)
    pixels = torch.randint(0, 128, (count, 1, 20, 24), generator=generator)
    labels = torch.arange(count) % 2
    pixels[labels == 0, :, :, :12] += 60
    pixels[labels == 1, :, :, 12:] += 60
    return (pixels / 255 - 0.37) / 0.2, labels


def network() -> Network:
    return Network(
        name="sides", module=trained, calibration=lambda: images(60)[0], test=lambda: images(120)
    )


def opened() -> Network:
    """As each process opens it."""
    return open_network(f"{__name__}:network")


class Masks(nn.Module):
    """Which pixels of a grey image are bright: what networks on the market are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8))
        self.wide = nn.Sequential(nn.Conv2d(8, 16, 1), nn.Hardswish())
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.grouped = nn.Conv2d(16, 16, 3, padding=2, dilation=2, groups=4)
        self.squeeze = nn.Conv2d(16, 4, 1)
        self.excite = nn.Conv2d(4, 16, 1)
        self.rise = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.head = nn.Conv2d(16, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = nn.functional.relu6(self.stem(x))
        wide = self.wide(nn.functional.max_pool2d(fine, 2))
        wide = self.grouped(nn.functional.silu(self.depthwise(wide)))
        excited = self.excite(nn.functional.relu(self.squeeze(wide.mean((2, 3), keepdim=True))))
        wide = wide * nn.functional.hardsigmoid(excited)
        mask: Tensor = self.head(torch.cat([self.rise(wide), fine], dim=1))
        return mask


def masks() -> Network:
    """A network with a score, and with random weights."""
    pixels = images(60)[0]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Masks()
    with torch.no_grad():
        module(pixels)  # its batch norm
    module.eval()

    def overlap(outputs: Tensor, targets: Tensor) -> Tensor:
        return ((outputs > 0) == (targets > 0)).flatten(1).double().mean(1)

    with torch.no_grad():
        return Network("masks", module, pixels, (pixels, module(pixels)), score=overlap)
