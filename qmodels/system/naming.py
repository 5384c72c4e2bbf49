"""Names of this package's networks, and which network is measured where none is named."""

from collections.abc import Mapping

DATASET = "cifar100"
ARCHITECTURE = "resnet34"
# Channels of the stem by data set: of each, a checkpoint is shipped.
WIDTHS: Mapping[str, int] = {"digits": 8, "cifar100": 16}


def network_name(
    dataset: str = DATASET, architecture: str = ARCHITECTURE, width: int | None = None
) -> str:
    """The name of a trained network, which baselines and artifacts are filed under.

    Args:
        width: of the stem; by default that of the data set in ``WIDTHS``.
    """
    return f"{dataset}-{architecture}-w{WIDTHS[dataset] if width is None else width}"
