"""Checkpoints as networks, which variants quantize."""

from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from rich.console import Console

from qmodels import data
from qmodels.data import Dataset
from qmodels.network import Call, Network
from qmodels.network.images import Images
from qmodels.system.defaults import network_name
from qmodels.training import checkpoints
from qmodels.training.checkpoints import Checkpoint

# Wider networks take minutes for the whole test set on two cores.
_WHOLE_TEST_SET_WIDTH = 16
_IMAGES_OF_WIDE_NETWORKS = 2000


@dataclass(frozen=True)
class Untrained:
    """A network of this package that has no checkpoint yet."""

    dataset: str
    architecture: str
    width: int

    @property
    def name(self) -> str:
        """The name that baselines and artifacts are filed under."""
        return network_name(self.dataset, self.architecture, self.width)

    @property
    def call(self) -> Call:
        """The call that gives the network in any process, also by another state's code."""
        described = {"dataset": self.dataset, "architecture": self.architecture}
        return Call("qmodels.training.networks:usual", {**described, "width": self.width})

    def __str__(self) -> str:
        return "checkpoint: none yet, will be trained"

    @property
    def accuracy_images(self) -> int | None:
        """The default number of test images that benches evaluate; None for all of them."""
        return _accuracy_images(self.width)

    def train(self, console: Console | None) -> Network:
        """The network, trained now where that is quick.

        Raises:
            UserError: training takes longer than a fixture may; names the command.
        """
        from qmodels.training import on_demand  # brings in torch's compiler, which takes seconds

        dataset = _load(self.dataset)
        checkpoint = on_demand.find_or_train(
            dataset, self.architecture, self.width, console=console
        )
        return of_checkpoint(checkpoint, dataset)


_load = cache(data.load)


def of_checkpoint(checkpoint: Checkpoint, dataset: Dataset | None = None) -> Network:
    """A checkpoint with the data set that it was trained on.

    Args:
        dataset: loaded when its images are first needed, by default.
    """

    def images() -> Dataset:
        return dataset or _load(checkpoint.dataset)

    def test() -> tuple[Images, object]:
        split = images().test
        return images().normalized(split.images), split.labels

    return Network(
        name=name(checkpoint),
        module=partial(checkpoints.load_model, checkpoint),
        calibration=lambda: images().normalize(images().calibration.images),
        test=test,
        structure=Call(
            "qmodels.network:build",
            {
                "architecture": checkpoint.architecture,
                "width": checkpoint.width,
                "classes": checkpoint.classes,
            },
        ),
        fine_tuned=partial(_fine_tune, checkpoint, dataset),
        accuracy_images=_accuracy_images(checkpoint.width),
        summary=f"checkpoint: {checkpoint.path.stem}, top-1 {checkpoint.top1:.2f} %",
        call=call(checkpoint),
    )


def call(checkpoint: Checkpoint) -> Call:
    """The call that gives the network in any process, also by another state's code."""
    described = {name: getattr(checkpoint, name) for name in ("dataset", "architecture", "width")}
    usual = checkpoints.find(**described)
    if usual is not None and usual.sha256 == checkpoint.sha256:
        return Call("qmodels.training.networks:usual", described)
    return Call("qmodels.training.networks:trained", {"checkpoint": _shortest_name(checkpoint)})


def _accuracy_images(width: int) -> int | None:
    """The default number of test images that benches evaluate; None for all of them."""
    return None if width <= _WHOLE_TEST_SET_WIDTH else _IMAGES_OF_WIDE_NETWORKS


def name(checkpoint: Checkpoint) -> str:
    """The name that baselines and artifacts are filed under.

    The network of a data set, an architecture and a width is the one that benches use. Any other
    has the name of its file.
    """
    usual = checkpoints.find(checkpoint.architecture, checkpoint.width, checkpoint.dataset)
    if usual is not None and usual.sha256 not in (checkpoint.sha256, checkpoint.parent):
        return checkpoint.path.stem
    return network_name(checkpoint.dataset, checkpoint.architecture, checkpoint.width)


def _shortest_name(checkpoint: Checkpoint) -> str:
    """A name that ``checkpoints.resolve`` finds a checkpoint by: without a folder, if that will do.

    Paths have no place in what is published.
    """
    stem = checkpoint.path.stem
    known = {each.sha256 for each in checkpoints.known() if each.path.stem == stem}
    return stem if known == {checkpoint.sha256} else str(Path(checkpoint.path).resolve())


def usual(dataset: str, architecture: str, width: int) -> Network:
    """The network that benches use where no checkpoint is named.

    Raises:
        UserError: there is no checkpoint of it.
    """
    return of_checkpoint(checkpoints.usual(architecture, width, dataset))


def trained(checkpoint: str) -> Network:
    """The network of a checkpoint's name or path.

    Raises:
        UserError: there is no such checkpoint.
    """
    return of_checkpoint(checkpoints.resolve(checkpoint))


def _fine_tune(checkpoint: Checkpoint, dataset: Dataset | None, console: Console | None) -> Network:
    from qmodels.training import on_demand  # brings in torch's compiler, which takes seconds

    images = dataset or _load(checkpoint.dataset)
    return of_checkpoint(on_demand.find_or_fine_tune(checkpoint, images, console=console), dataset)
