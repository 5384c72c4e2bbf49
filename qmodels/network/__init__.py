"""ResNet-34, and what is done to any network: fusion, calibration, rounding, evaluation."""

from qmodels.network.resnet import ARCHITECTURES, build, check
from qmodels.network.trained import Call, Network

__all__ = ["ARCHITECTURES", "Call", "Network", "build", "check"]
