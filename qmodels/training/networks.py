"""Checkpoints as networks, which variants quantize."""

from functools import partial

from rich.console import Console

from qmodels import data
from qmodels.data import Dataset
from qmodels.network import Call, Network
from qmodels.system.defaults import network_name
from qmodels.training import checkpoints
from qmodels.training.checkpoints import Checkpoint


def network(checkpoint: Checkpoint, dataset: Dataset) -> Network:
    """A checkpoint with the data set that it was trained on."""
    return Network(
        name=network_name(checkpoint.dataset, checkpoint.architecture, checkpoint.width),
        sha256=checkpoint.sha256,
        dataset=dataset,
        load=partial(checkpoints.load_model, checkpoint),
        structure=Call(
            "qmodels.network:build",
            {
                "architecture": checkpoint.architecture,
                "width": checkpoint.width,
                "classes": checkpoint.classes,
            },
        ),
        reopen=Call("qmodels.training.networks:reopen", {"checkpoint": str(checkpoint.path)}),
        fine_tuned=partial(fine_tune, checkpoint, dataset),
    )


def reopen(checkpoint: str) -> Network:
    """The network of a checkpoint's path.

    Raises:
        UserError: there is no such checkpoint.
    """
    described = checkpoints.resolve(checkpoint)
    return network(described, data.load(described.dataset))


def fine_tune(checkpoint: Checkpoint, dataset: Dataset, console: Console | None) -> Network:
    """The quantization-aware sibling of a checkpoint.

    Raises:
        Unavailable: there is none, and training it takes longer than a fixture may.
    """
    from qmodels.training import on_demand  # brings in torch's compiler, which takes seconds

    return network(on_demand.find_or_fine_tune(checkpoint, dataset, console=console), dataset)
