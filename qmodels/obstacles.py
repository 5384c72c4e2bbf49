"""Why something can't run here, and the command that mends it."""

from dataclasses import dataclass
from pathlib import Path

DISTRIBUTION = "pytest-qmodels"
CHECKOUT = Path(__file__).parents[1]
CONSTRAINTS = "baselines/constraints.txt"


@dataclass(frozen=True)
class Obstacle:
    """Why something can't run here.

    Attributes:
        reason: a line with the remedy.
        mendable: whether this machine could run it with something else installed. Another
            processor, another operating system or a GPU can't be installed.
    """

    reason: str
    mendable: bool


def install(extra: str, *options: str) -> str:
    """The command that installs an extra of qmodels: from the checkout, where this is one.

    There it takes the versions that the baselines were made with.

    Args:
        options: of pip.
    """
    if (CHECKOUT / CONSTRAINTS).exists():
        what = ["-e", f"'.[{extra}]'", "-c", CONSTRAINTS]
    else:
        what = [f"'{DISTRIBUTION}[{extra}]'"]
    return " ".join(["pip", "install", *options, *what])
