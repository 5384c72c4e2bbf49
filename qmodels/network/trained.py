"""A trained network as a value, whoever defined it, and how another process gets the same one."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

from rich.console import Console

from qmodels.data import Dataset
from qmodels.system.errors import UserError, first_line


@dataclass(frozen=True)
class Call:
    """A function that any process can import and call.

    Attributes:
        function: its module and its name, as ``package.module:name``.
        arguments: by name, as JSON can hold them.
    """

    function: str
    arguments: Mapping[str, Any]

    def __call__(self) -> Any:
        """What the function returns.

        Raises:
            UserError: it can't be imported.
        """
        return self.resolve()(**self.arguments)

    def resolve(self) -> Callable[..., Any]:
        """The function.

        Raises:
            UserError: it can't be imported.
        """
        module, _, name = self.function.partition(":")
        try:
            function: Callable[..., Any] = getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise UserError(
                f"network function {self.function} can't be imported ({first_line(error)}): "
                "define it in an installed package"
            ) from None
        return function


@dataclass(frozen=True)
class Network:
    """A trained classifier, and the images that it is calibrated and measured on.

    Attributes:
        name: baselines and artifacts are filed under it; letters, digits, ``.``, ``_``, ``-``.
        sha256: digest of its weights.
        dataset: calibration images, test images, labels and normalization.
        load: gives the float modules in eval mode, which map images (N, C, H, W) float32,
            normalized, to logits (N, classes) float32. An edit of its function's module builds
            artifacts anew.
        structure: gives the same modules with any weights.
        reopen: gives this value again, in another process. A build there checks that it does.
        fine_tuned: gives the quantization-aware sibling, whose modules are fake-quantized. It is
            trained where that is quick, with progress on the console. None where there can be none.
    """

    name: str
    sha256: str
    dataset: Dataset
    load: partial[Any]
    structure: Call
    reopen: Call
    fine_tuned: Callable[[Console | None], "Network"] | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]+", self.name):
            raise UserError(
                f"network name {self.name!r} is no file name: use letters, digits, '.', '_', '-'"
            )
