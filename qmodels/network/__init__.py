"""ResNet-34, networks as values, and what is done to any: fusion, export, evaluation."""

from qmodels.network.resnet import ARCHITECTURES, build, check
from qmodels.network.trained import Call, Network

__all__ = ["ARCHITECTURES", "Call", "Network", "build", "check"]
