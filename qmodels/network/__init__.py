"""ResNet-34, networks as values, and what is done to any: fusion, export, evaluation."""

from qmodels.network.resnet import build, check
from qmodels.network.trained import Call, Network

__all__ = ["Call", "Network", "build", "check"]
