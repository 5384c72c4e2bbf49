"""Checks of a network before anything is built of it."""

import torch
from torch import Tensor, nn

from qmodels.network import images
from qmodels.network.evaluation import not_finite, score
from qmodels.network.trained import Network
from qmodels.system.errors import UserError, describe_error

_TRIED = 2  # images of the forward that is tried


def check(network: Network) -> None:
    """Raise UserError, in a line with the remedy, where a network can not be measured.

    Reads the images for calibration, and runs a forward of two test images.
    """
    try:
        _check_parts(network)
    except UserError:
        raise
    except Exception as error:  # whatever a user's functions and data sets raise
        raise _fault(
            network,
            f"its module or its images can't be read ({describe_error(error)})",
            "give a module, images, and test images with their labels",
        ) from None
    _check_again(network)


def _check_parts(network: Network) -> None:
    module = network.load()
    if not isinstance(module, nn.Module):
        raise _fault(network, f"its module is a {type(module).__name__}", "give an nn.Module")
    if module.training:
        raise _fault(network, "its module is in training mode", "call eval() on it")
    _check_images(network)
    pixels = images.read(network.test_images, range(min(_TRIED, len(network.test_images))))
    try:
        with torch.inference_mode():
            outputs = module(pixels)
    except Exception as error:  # whatever a user's module raises
        given = ", ".join(map(str, pixels.shape))
        raise _fault(
            network,
            f"its module fails on images ({given}) float32 ({describe_error(error)})",
            "give images as the module takes them",
        ) from None
    if not isinstance(outputs, Tensor):
        raise _fault(network, f"its module returns a {type(outputs).__name__}", "return one tensor")
    is_right = outputs.dim() == 2 if network.score is None else outputs.dim() > 0
    if not is_right or len(outputs) != len(pixels):
        given = ", ".join(map(str, outputs.shape))
        raise _fault(
            network,
            f"its module returns ({given}) for {len(pixels)} images",
            "return logits (N, classes), or give a score",
        )
    broken = not_finite(outputs)
    if broken:
        raise _fault(network, broken, "look for NaN in its weights and images")
    if network.score is None:
        _check_labels(network, outputs.shape[1])
    else:
        _check_targets(network, outputs)


def _check_images(network: Network) -> None:
    split = network.test_split
    if not isinstance(split, tuple) or len(split) != 2:
        raise _fault(
            network, f"its test split is a {type(split).__name__}", "give (images, labels)"
        )
    for name, pixels in (
        ("calibration", network.calibration_images),
        ("test", images.read(network.test_images, range(min(1, len(network.test_images))))),
    ):
        if not len(pixels):
            raise _fault(network, f"it has no {name} images", "give at least one")
        if pixels.dtype != torch.float32:
            raise _fault(
                network,
                f"its {name} images are {str(pixels.dtype).removeprefix('torch.')}",
                "give float32, as the module takes them",
            )
    calibrated, tested = network.calibration_images.shape[1:], network.input_shape
    if calibrated != tested:
        raise _fault(
            network,
            f"its test images are {tuple(tested)} and those for calibration {tuple(calibrated)}",
            "give both the same shape",
        )


def _check_labels(network: Network, classes: int) -> None:
    labels, count = network.labels, len(network.test_images)
    if labels.dim() != 1 or len(labels) != count:
        given = " x ".join(map(str, labels.shape))
        raise _fault(network, f"it has {given} labels for {count} test images", "give one an image")
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= classes:
        raise _fault(
            network,
            f"its labels go from {lowest} to {highest}, and its module knows {classes} classes",
            f"give labels from 0 to {classes - 1}",
        )


def _check_targets(network: Network, outputs: Tensor) -> None:
    given, count = len(network.targets), len(network.test_images)
    if given != count:
        raise _fault(
            network, f"it has {given} targets for {count} test images", "give one an image"
        )
    score(network, outputs, images.read(network.targets, range(len(outputs))))


def _check_again(network: Network) -> None:
    """Refuse a function that gives another network at each call, as untrained weights are."""
    again: Network = network.call()
    if (again.name, again.sha256) != (network.name, network.sha256):
        raise _fault(
            network,
            f"{network.call.function} gives another network at each call",
            "load weights from a file, or set a seed",
        )


def _fault(network: Network, reason: str, remedy: str) -> UserError:
    return UserError(f"network {network.name}: {reason}: {remedy}")
