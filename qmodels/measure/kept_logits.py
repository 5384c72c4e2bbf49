"""Logits of artifacts, kept from one run to the next.

Most runs evaluate the same artifacts and images as the run before. Logits are kept with the digest
of what they depend on. Each run computes one batch in ten again, at least one. Where one bit
differs, it computes all.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from random import SystemRandom
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from qmodels.backends.base import ForwardFn
from qmodels.network import Network, evaluation, images
from qmodels.network.evaluation import Evaluation, Predictions
from qmodels.system import files, machine, packages, sources, store
from qmodels.system.errors import UserError
from qmodels.variants import Artifact

# One batch in this many is computed again.
_BATCHES_PER_CHECK = 10
# Prefixes of environment variables that choose libraries, kernels, instructions or threads.
_VARIABLES = (
    *("ATEN", "BLIS", "DNNL", "DYLD_", "FBGEMM", "GLIBC", "GOMP", "KMP", "LD_", "MKL", "OMP"),
    *("ONEDNN", "OPENBLAS", "ORT", "OV", "PYTORCH", "TORCH", "VECLIB", "XNNPACK"),
)


@dataclass
class KeptLogits:
    """Evaluates artifacts of one classifier on some of its test images.

    Attributes:
        positions: those of the evaluated images.
        reused: variants whose logits an earlier run computed, in order.
        notes: lines on logits that had to be computed anew.
    """

    network: Network
    positions: Sequence[int]
    reused: dict[str, None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def evaluate(self, artifact: Artifact, forward: ForwardFn) -> Evaluation:
        """The logits of an artifact, of which a part is computed, or all.

        Args:
            forward: the loaded artifact.
        """
        name = artifact.variant.name
        path = self._path(name)
        key = store.digest_value(self._dependencies(artifact))
        kept = self._read(path, key)
        if kept is not None:
            if self._matches_part(kept, forward):
                self.reused[name] = None
                return Predictions(kept, self.network.labels[list(self.positions)])
            self.notes.append(
                f"{name}: logits differ from those of an earlier run, so all were computed"
            )
        evaluated = self._compute(forward, self.positions)
        if evaluated.logits.isfinite().all():
            self._write(path, key, evaluated.logits)
        return evaluated

    def lines(self) -> list[str]:
        """The notes, and how many evaluations were reused."""
        if not self.reused:
            return self.notes
        count = len(self.reused)
        variants = "1 variant" if count == 1 else f"{count} variants"
        return [
            *self.notes,
            f"logits of {variants} are from an earlier run; one batch in ten was computed again, "
            "with the same bits (--qmodels-recompute computes all)",
        ]

    def forget(self, variant: str) -> None:
        """Have the next run compute all logits of a variant."""
        if variant in self.reused:
            with suppress(OSError):  # what can't be deleted is checked as before
                self._path(variant).unlink()

    def _path(self, variant: str) -> Path:
        return store.cache_path() / "logits" / f"{self.network.name}-{variant}.safetensors"

    def _compute(self, forward: ForwardFn, positions: Sequence[int]) -> Predictions:
        evaluated = evaluation.evaluate(self.network, forward, positions)
        assert isinstance(evaluated, Predictions)
        return evaluated

    def _matches_part(self, logits: Tensor, forward: ForwardFn) -> bool:
        """Whether a random part of some logits (N, classes) is what the model gives, to the bit."""
        starts = range(0, len(self.positions), self._batch_size)
        # In order: only the last batch may be short.
        chosen = sorted(SystemRandom().sample(starts, -(-len(starts) // _BATCHES_PER_CHECK)))
        every = range(len(self.positions))
        part = [index for start in chosen for index in every[start : start + self._batch_size]]
        again = self._compute(forward, [self.positions[index] for index in part]).logits
        return _digest([again]) == _digest([logits[part]])

    def _read(self, path: Path, key: str) -> Tensor | None:
        """Logits that were written with a key; None where there are none, or they are damaged."""
        try:
            tensors, metadata = files.read_safetensors(path)
            logits = tensors["logits"]
            if metadata["key"] != key:
                return None
            if metadata["sha256"] == _digest([logits]):
                return logits
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, KeyError, TypeError):
            pass
        self.notes.append(f"{path} is damaged or can't be read, so its logits were computed")
        return None

    def _write(self, path: Path, key: str, logits: Tensor) -> None:
        logits = logits.contiguous()
        try:
            with files.atomic_write(path) as scratch:
                metadata = {"key": key, "sha256": _digest([logits])}
                save_file({"logits": logits}, scratch, metadata=metadata)
        except UserError as error:  # the run does not need it
            self.notes.append(f"logits are not kept: {error}")

    def _dependencies(self, artifact: Artifact) -> dict[str, Any]:
        return {
            "artifact": store.digest_file(artifact.folder / store.MANIFEST),
            "runtime": packages.versions(artifact.variant.requires),
            "images": self._images_digest,
            "batch_size": self._batch_size,
            "threads": torch.get_num_threads(),
            "torch": [
                torch.get_float32_matmul_precision(),
                torch.backends.mkldnn.enabled,
                torch.are_deterministic_algorithms_enabled(),
            ],
            "machine": [machine.machine_class(), machine.processor(), *sorted(machine.cpu_flags())],
            "cpus": len(machine.usable_cpus()),
            "versions": machine.versions(),
            "environment": {
                name: value
                for name, value in os.environ.items()
                if name.startswith(_VARIABLES) and name != store.INDUCTOR_CACHE
            },
            "sources": self._sources,
        }

    @cached_property
    def _batch_size(self) -> int:
        return images.batch_size(self.network.input_shape)

    @cached_property
    def _images_digest(self) -> str:
        chosen = images.Subset(self.network.test_images, self.positions)
        return _digest(images.batches(chosen, self._batch_size))

    @cached_property
    def _sources(self) -> dict[str, str]:
        calls = [call for call in (self.network.call, self.network.structure) if call]
        functions = [call.resolve() for call in calls if call.function]
        return sources.import_digests([KeptLogits.evaluate, Artifact.load, *functions])


def _digest(tensors: Iterable[Tensor]) -> str:
    """SHA-256 of tensors, one after another."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
