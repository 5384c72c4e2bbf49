"""A trained network as a value, whoever defined it, and how another process gets the same one."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from qmodels.data.dataset import CALIBRATION_IMAGES
from qmodels.network import images
from qmodels.network.images import Images
from qmodels.system import store
from qmodels.system.errors import UserError, describe_error, first_line

# Images that runtimes are compared with reference arithmetic on: of 3x224x224, 27.
_REFERENCE_IMAGES = 100


@dataclass(frozen=True)
class Call:
    """A function that any process can import and call.

    Attributes:
        function: its module and its name, as ``package.module:name``.
        arguments: by name, as JSON can hold them.
    """

    function: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self) -> Any:
        """Call the function; returns its result.

        Raises:
            UserError: it can't be imported or called, or it failed.
        """
        function = self.resolve()
        try:
            return function(**self.arguments)
        except UserError:
            raise
        except Exception as error:  # whatever a user's function raises
            raise UserError(
                f"network function {self.function} failed ({describe_error(error)}): "
                "it is called without arguments, and returns a qmodels.Network"
            ) from None

    @property
    def is_packaged(self) -> bool:
        """Whether the function is one of this package's."""
        return self.function.partition(".")[0] == __name__.partition(".")[0]

    def as_record(self) -> dict[str, Any]:
        """The function and its arguments, by name, as run records hold them."""
        return {"function": self.function, **self.arguments}

    def resolve(self) -> Callable[..., Any]:
        """The function."""
        module, _, name = self.function.partition(":")
        try:
            function: Callable[..., Any] = getattr(import_module(module), name)
        except Exception as error:  # whatever a user's module raises
            raise UserError(
                f"network function {self.function!r} can't be imported ({first_line(error)}): "
                "write module:function, of a module on sys.path"
            ) from None
        return function


@dataclass(frozen=True, eq=False)
class Network:
    """A trained network, and the images that it is calibrated and measured on.

    Each of ``module``, ``calibration`` and ``test`` is a value, or a function without arguments
    that returns it, which is called when the value is first needed.

    Attributes:
        name: baselines and artifacts are filed under it; letters, digits, ``.``, ``_``, ``-``.
        module: in eval mode, from (N, C, H, W) float32 to logits (N, classes) float32; with a
            score, to any tensor (N, ...). A function has to give a new one at each call.
        calibration: images as the module takes them, (C, H, W) float32 each: a tensor, an array,
            or anything else with a length that is indexed by position. Of more than
            ``CALIBRATION_IMAGES``, so many at equal distances are used.
        test: images likewise, and their labels, (N,) integers; with a score, their targets.
        score: from outputs (N, ...) and targets (N, ...) to one number an image, (N,); higher is
            better. None for a classifier, whose top-1 accuracy is measured.
        fine_tuned: gives the quantization-aware sibling, whose modules are fake-quantized. It is
            trained where that is quick, with progress on the console. None where there can be none.
        structure: gives the module with any weights, where that is quicker than with its own.
        accuracy_images: how many test images benches evaluate by default; None for all of them.
        summary: what is known of it, in a line.
        call: the function that gives this value in any process; ``open_network`` sets it.
    """

    name: str
    module: nn.Module | Callable[[], nn.Module]
    calibration: Images | Callable[[], Images]
    test: tuple[Images, Any] | Callable[[], tuple[Images, Any]]
    score: Callable[[Tensor, Tensor], Any] | None = None
    fine_tuned: Callable[[Console | None], "Network"] | None = None
    structure: Call | None = None
    accuracy_images: int | None = None
    summary: str = ""
    call: Call = Call("")

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]+", self.name):
            raise UserError(
                f"network name {self.name!r} is no file name: use letters, digits, '.', '_', '-'"
            )

    def __str__(self) -> str:
        return self.summary or f"network: {self.call.function}"

    def load(self) -> nn.Module:
        """The float module. It must not be changed: a value is the same one at each call."""
        if isinstance(self.module, nn.Module) or not callable(self.module):
            return self.module
        return self.module()

    @cached_property
    def calibration_images(self) -> Tensor:
        """The images that quantizers look at, (N, C, H, W) float32."""
        value = self.calibration() if callable(self.calibration) else self.calibration
        count = min(len(value), CALIBRATION_IMAGES)
        return images.read(value, [index * len(value) // count for index in range(count)])

    @cached_property
    def test_images(self) -> Images:
        """The test images, which ``images.read`` reads."""
        return self.test_split[0]

    @cached_property
    def targets(self) -> Images:
        """Their labels or targets, which ``images.read`` reads."""
        return self.test_split[1]

    @cached_property
    def labels(self) -> Tensor:
        """The labels of a classifier, (N,) int64."""
        return torch.as_tensor(self.targets).long()

    @cached_property
    def targets_digest(self) -> str:
        """Digest of how many targets there are, and of the first of them."""
        count = len(self.targets)
        first = images.read(self.targets, range(min(count, _REFERENCE_IMAGES)))
        values = first.contiguous().numpy().tobytes()
        return store.digest_value({"count": count, "first": store.digest_bytes(values)})[:16]

    @cached_property
    def test_split(self) -> tuple[Images, Any]:
        """The test images and their labels or targets, as ``test`` has them."""
        return self.test() if callable(self.test) else self.test

    @cached_property
    def reference_images(self) -> Tensor:
        """The first test images, (N, C, H, W) float32, which show what runtimes add to rounding."""
        count = min(_REFERENCE_IMAGES, len(self.test_images), images.batch_size(self.input_shape))
        return images.read(self.test_images, range(count))

    @cached_property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of an image: channels, height, width."""
        return tuple(images.read(self.test_images, [0]).shape[1:])

    @cached_property
    def parts(self) -> frozenset[type[nn.Module]]:
        """The classes of all modules in the module."""
        return frozenset(type(part) for part in self.load().modules())

    @cached_property
    def sha256(self) -> str:
        """Digest of the module: of its weights, and of what it says of its parts."""
        module = self.load()
        digest = hashlib.sha256(repr(module).encode())
        for name, value in module.state_dict().items():
            if isinstance(value, Tensor):
                digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
                digest.update(value.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    @cached_property
    def calibration_digest(self) -> str:
        """SHA-256 of the images for calibration."""
        return _images_digest(self.calibration_images)

    @cached_property
    def reference_digest(self) -> str:
        """SHA-256 of the images for comparisons with reference arithmetic."""
        return _images_digest(self.reference_images)


def _images_digest(pixels: Tensor) -> str:
    return store.digest_bytes(pixels.contiguous().numpy().tobytes())


def open_network(function: str, **arguments: Any) -> Network:
    """The network that a function gives, which knows the function.

    Args:
        function: its module and its name, as ``package.module:name``.
        arguments: of it, as JSON can hold them.

    Raises:
        UserError: it can't be imported or called, failed, or gives no network.
    """
    call = Call(function, arguments)
    network = call()
    if not isinstance(network, Network):
        given = type(network).__name__
        raise UserError(f"network function {function} returns a {given}: return a qmodels.Network")
    return replace(network, call=call)
