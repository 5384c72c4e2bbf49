"""The objects that benches of a network share: the network, its artifacts, fp32's logits."""

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from qmodels import data, variants
from qmodels.backends import dispatch
from qmodels.backends.base import ForwardFn
from qmodels.data.dataset import stratified_positions
from qmodels.harness.progress import Progress
from qmodels.harness.settings import Settings
from qmodels.measure.kept_logits import KeptLogits
from qmodels.network import Network, checks, evaluation, images
from qmodels.network.evaluation import Evaluation
from qmodels.system.defaults import REFERENCE
from qmodels.system.errors import UserError
from qmodels.variants import Artifact, Variant


@dataclass
class BenchSession:
    """Hands out what the settings name, each made when it is first asked for."""

    settings: Settings
    progress: Progress = field(default_factory=Progress)
    built: dict[str, Artifact | UserError] = field(default_factory=dict)
    fp32_evaluation: Evaluation | None = None

    @cached_property
    def network(self) -> Network:
        """The network that the settings name, trained now where it has no weights yet."""
        network = self.settings.network
        if not isinstance(network, Network):
            network = network.train(self.progress.console)
        checks.check(network)
        return network

    @cached_property
    def model(self) -> nn.Module:
        """The trained float network, in eval mode."""
        return self.network.load()

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of the network for one image."""
        image = data.example_images(1, self.network.input_shape)
        return sum(kernel.macs for kernel in dispatch.kernels(self.model, image))

    @cached_property
    def fp32(self) -> ForwardFn:
        """The float model that ratios and drops are against."""
        return self.build(REFERENCE).load()

    @cached_property
    def evaluated(self) -> Tensor:
        """Positions (N,) int64 of the test images that accuracy is measured on."""
        whole = len(self.network.test_images)
        count = min(self.settings.accuracy_images or whole, whole)
        if count == whole:
            return torch.arange(whole)
        if self.network.score is None:
            return stratified_positions(self.network.labels, count)
        return torch.arange(count) * whole // count

    @cached_property
    def batch_size(self) -> int:
        """Images of a batch of these."""
        return images.batch_size(self.network.input_shape)

    @cached_property
    def kept_logits(self) -> KeptLogits | None:
        """Logits of earlier runs; None where all are computed."""
        if self.settings.recompute or self.network.score is not None:
            return None
        return KeptLogits(self.network, self.evaluated.tolist())

    def evaluate(self, forward: ForwardFn, artifact: Artifact | None = None) -> Evaluation:
        """Evaluate a model on the images that accuracy is measured on.

        Args:
            artifact: whose forward it is. Most of its logits may be those of an earlier run.
        """
        if artifact is None or artifact.variant.on_gpu or self.kept_logits is None:
            return evaluation.evaluate(self.network, forward, self.evaluated.tolist())
        return self.kept_logits.evaluate(artifact, forward)

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

    def reference(self, variant: Variant, evaluated: Evaluation) -> Evaluation:
        """The evaluation of fp32 on the images that accuracy is measured on.

        Args:
            evaluated: of the variant, for these images; kept where the variant is fp32.
        """
        if variant.name == REFERENCE:
            self.fp32_evaluation = evaluated
        elif self.fp32_evaluation is None:
            self.fp32_evaluation = self.evaluate(self.fp32, self.build(REFERENCE))
        return self.fp32_evaluation
