"""Which data set is used, and why."""

import socket
from dataclasses import dataclass

from qmodels.data import cifar100, digits
from qmodels.data.dataset import Dataset
from qmodels.system.errors import UserError

DATASETS = ("cifar100", "digits")
CIFAR100_HOST = ("www.cs.toronto.edu", 443)
DOWNLOAD_PROBE_SECONDS = 3.0


@dataclass(frozen=True)
class Choice:
    """Which data set is used, and why, in words for the user."""

    name: str
    reason: str


def choose(name: str) -> Choice:
    """Resolve ``auto``: CIFAR-100 where it is on disk or its site answers, else digits.

    Raises:
        UserError: unknown data set.
    """
    if name in DATASETS:
        return Choice(name, "asked for")
    if name != "auto":
        known = ", ".join(("auto", *DATASETS))
        raise UserError(f"unknown data set {name!r}: choose one of {known}")
    if cifar100.folder().is_dir():
        return Choice("cifar100", f"found in {cifar100.data_dir()}")
    try:
        socket.create_connection(CIFAR100_HOST, timeout=DOWNLOAD_PROBE_SECONDS).close()
    except OSError:
        return Choice(
            "digits",
            f"CIFAR-100 is not in {cifar100.data_dir()} and {CIFAR100_HOST[0]} does not answer",
        )
    return Choice("cifar100", f"downloading to {cifar100.data_dir()}")


def load(name: str) -> Dataset:
    """Load a data set by name, downloading CIFAR-100 where it is missing.

    Raises:
        UserError: unknown name; CIFAR-100 damaged, or neither on disk nor to be had.
    """
    name = choose(name).name
    return cifar100.load() if name == "cifar100" else digits.load()
