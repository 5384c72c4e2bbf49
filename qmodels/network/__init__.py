"""ResNet-34, and what is done to any network: fusion, calibration, rounding, evaluation."""

from qmodels.network.resnet import ARCHITECTURES, build, check

__all__ = ["ARCHITECTURES", "build", "check"]
