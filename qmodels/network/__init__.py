"""ResNet-34, networks as values, and what is done to any: fusion, export, evaluation."""

from qmodels.network.resnet import build, check
from qmodels.network.trained import Call, Network, open_network

__all__ = ["Call", "Network", "build", "check", "open_network"]
