"""What benches of one run share: data set, checkpoint, artifacts, and fp32's logits."""

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from qmodels import data, variants
from qmodels.backends import dispatch
from qmodels.backends.base import ForwardFn
from qmodels.data import Dataset, Split
from qmodels.harness.progress import Progress
from qmodels.harness.settings import Settings
from qmodels.network import Network, evaluation
from qmodels.system.errors import UserError
from qmodels.training import networks, on_demand
from qmodels.training.checkpoints import Checkpoint
from qmodels.variants import Artifact, Variant


@dataclass
class BenchSession:
    """Hands out what the settings name, each made when it is first asked for.

    Attributes:
        progress: what the run works on.
    """

    settings: Settings
    progress: Progress = field(default_factory=Progress)
    built: dict[str, Artifact | UserError] = field(default_factory=dict)
    fp32_logits: Tensor = field(default_factory=lambda: torch.empty(0))

    @cached_property
    def dataset(self) -> Dataset:
        """The data set that ``--qmodels-dataset`` names."""
        return data.load(self.settings.dataset)

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The trained weights: those that the header names, or trained now where that is quick."""
        settings = self.settings
        if settings.checkpoint is not None:
            return settings.checkpoint
        return on_demand.find_or_train(
            self.dataset, settings.architecture, settings.width, console=self.progress.console
        )

    @cached_property
    def network(self) -> Network:
        """The checkpoint with its data set."""
        return networks.network(self.checkpoint, self.dataset)

    @cached_property
    def model(self) -> nn.Module:
        """The trained float network, in eval mode."""
        model: nn.Module = self.network.load()
        return model

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of the network for one image."""
        model = self.network.structure().eval()
        image = data.example_images(1, self.dataset.test.images.shape[1:])
        return sum(kernel.macs for kernel in dispatch.kernels(model, image))

    @cached_property
    def fp32(self) -> ForwardFn:
        """The float model that ratios and drops are against."""
        return self.build(variants.registry.REFERENCE).load()

    @cached_property
    def images(self) -> Split:
        """The test images that accuracy is measured on: all, or a stratified subset."""
        count, test = self.settings.accuracy_images, self.dataset.test
        return test if count is None else data.stratified_subset(test, min(count, len(test)))

    def build(self, name: str) -> Artifact:
        """Build a variant, or find it in the cache. One that failed is not tried again.

        Raises:
            UserError: as for ``variants.build``; it fails the benches of that variant alone.
        """
        if name not in self.built:
            try:
                with self.progress.building(name):
                    self.built[name] = variants.build(
                        variants.all_variants()[name],
                        self.network,
                        console=self.progress.console,
                    )
            except UserError as error:
                self.built[name] = error
        artifact = self.built[name]
        if isinstance(artifact, UserError):
            raise artifact
        return artifact

    def reference_logits(self, variant: Variant, logits: Tensor) -> Tensor:
        """fp32's logits (N, classes) float32 for ``images``.

        Args:
            logits: of the variant for these images; kept where the variant is fp32.
        """
        if variant.name == variants.registry.REFERENCE:
            self.fp32_logits = logits
        elif not len(self.fp32_logits):
            self.fp32_logits = evaluation.predict(self.fp32, self.dataset, self.images.images)
        return self.fp32_logits
