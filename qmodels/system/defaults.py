"""Defaults of the command line, and the names that it takes."""

from collections.abc import Mapping

# The variant that all others are compared with.
REFERENCE = "fp32"
DATASET = "cifar100"
ARCHITECTURES = ("resnet34", "preact_resnet34")
ARCHITECTURE = ARCHITECTURES[0]
# Channels of the stem by data set: of each, a checkpoint is shipped.
WIDTHS: Mapping[str, int] = {"cifar100": 16, "digits": 8}
# Points of top-1 that the recommended variant may lose.
MAX_DROP = 0.5


def network_name(
    dataset: str = DATASET, architecture: str = ARCHITECTURE, width: int | None = None
) -> str:
    """The name of a trained network, which baselines and artifacts are filed under.

    Args:
        width: of the stem; by default that of the data set in ``WIDTHS``.
    """
    return f"{dataset}-{architecture}-w{WIDTHS[dataset] if width is None else width}"
