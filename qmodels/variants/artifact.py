"""Build a variant of a network into the store, once, and load it from there."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor, nn

from qmodels import data
from qmodels.backends.base import ForwardFn
from qmodels.network import Call, Network
from qmodels.system import codec, machine, packages, sources, store, worker
from qmodels.system.errors import Unavailable, UserError, describe_error
from qmodels.variants import build_worker, registry
from qmodels.variants.build_worker import REFERENCE_FILE, Outcome
from qmodels.variants.registry import Variant

_BUILD_SECONDS = 4 * 3600.0


@dataclass(frozen=True)
class Inputs:
    """The inputs of an artifact, as far as loading it needs them; see ``inputs``."""

    variant: str
    module: str
    structure: Call
    input_shape: tuple[int, ...]
    machine_class: str
    saturates: bool
    versions: Mapping[str, str]
    cpu_flags: tuple[str, ...] | None


@dataclass(frozen=True)
class Artifact:
    """The files of one variant of one network, as they would be deployed."""

    variant: Variant
    folder: Path

    @property
    def inputs(self) -> Inputs:
        """The inputs that it was made from."""
        return _read_inputs(self.folder)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Channels, height and width of the images that it takes."""
        return self.inputs.input_shape

    @property
    def files(self) -> dict[str, int]:
        """Bytes of the files that would be deployed, by path in the folder."""
        return {
            name: (self.folder / name).stat().st_size
            for name in sorted(store.read_manifest(self.folder).files)
            if name != REFERENCE_FILE
        }

    @property
    def size_bytes(self) -> int:
        """Bytes of all of them."""
        return sum(self.files.values())

    def example(self, count: int) -> Tensor:
        """Standard normal images, (count, C, H, W) float32, always the same."""
        return data.example_images(count, self.input_shape)

    def network(self) -> nn.Module:
        """The float network's modules in eval mode, with any weights."""
        built: Network | nn.Module = self.inputs.structure()
        return (built.load() if isinstance(built, Network) else built).eval()

    def modules(self) -> nn.Module:
        """Modules of its structure in eval mode, with any weights."""
        return self.variant.modules(self.network())

    def load(self) -> ForwardFn:
        """Load from disk; the outputs are bit for bit those of what was saved.

        Raises:
            UserError: a file is missing or damaged, or it was made for another machine class,
                for instructions that this processor lacks, other versions, or a machine that does
                not saturate.
        """
        damage = store.damaged_file(self.folder)
        if damage is not None:
            raise UserError(f"artifact file {damage} is damaged: delete {self.folder} to rebuild")
        unfit = self.unfit()
        if unfit is not None:
            raise UserError(f"artifact {self.folder} {unfit}: build it again with `qmodels build`")
        try:
            forward = self.variant.backend.load(self)
        except UserError:
            raise
        except Exception as error:  # whatever a runtime raises
            raise UserError(
                f"artifact {self.folder} can't be loaded ({describe_error(error)}): delete it to "
                "rebuild"
            ) from error
        shape = self.input_shape

        def checked(images: Tensor) -> Tensor:
            if tuple(images.shape[1:]) != shape or images.dtype != torch.float32:
                wanted = ", ".join(map(str, ("N", *shape)))
                raise UserError(
                    f"{self.variant.name} got images of shape {tuple(images.shape)} and "
                    f"{images.dtype}: give it ({wanted}) of torch.float32"
                )
            return forward(images)

        return checked

    def unfit(self) -> str | None:
        """Why this machine is not one that the artifact was made for; None where it is."""
        built, here = self.inputs, conditions(self.variant)
        if built.machine_class != here["machine_class"]:
            return f"was made on {built.machine_class}, and this is {here['machine_class']}"
        lacking = sorted(set(built.cpu_flags or ()) - set(here["cpu_flags"] or ()))
        if lacking:
            return f"is code for a processor with {', '.join(lacking)}, which this one lacks"
        for package, version in here["versions"].items():
            then = built.versions.get(package)
            if then != version:
                return f"was made with {package} {then}, and {version} is installed"
        if here["saturates"] and not built.saturates:
            return f"has weights of eight bits, and {self.variant.engine} saturates here"
        return None

    def reference_logits(self) -> Tensor | None:
        """Logits (N, classes) float32 of ``reference_images``, in reference arithmetic.

        None for variants that claim no int8.
        """
        path = self.folder / REFERENCE_FILE
        return load_file(path)["logits"] if path.exists() else None


def open_artifact(folder: Path) -> Artifact:
    """The artifact in a folder that ``build`` made. Only the module of its variant is imported.

    Raises:
        UserError: there is none, or its variant is gone.
    """
    built = _read_inputs(folder)
    return Artifact(registry.find(built.variant, built.module), folder)


def _read_inputs(folder: Path) -> Inputs:
    manifest = store.read_manifest(folder)
    with codec.damage_as_error(folder / store.MANIFEST, f"delete {folder} to rebuild"):
        return codec.decode(Inputs, manifest.inputs, at="inputs")


def conditions(variant: Variant) -> dict[str, Any]:
    """The conditions of an artifact beside network and code, as class, versions and saturation."""
    backend = variant.backend
    return {
        "machine_class": backend.machine_class(),
        "saturates": bool(variant.int8_share > 0 and variant.probe().saturates),
        "versions": packages.versions(("torch", *variant.requires)),
        "cpu_flags": sorted(machine.cpu_flags()) if backend.machine_code else None,
        # Of one thread, compiled loops are serial, and layouts of weights are others.
        "threads": torch.get_num_threads() if backend.machine_code else None,
        # Kernels are chosen and built for one kind of card, of which a class has several.
        "gpu": machine.gpu_name() if variant.on_gpu else None,
    }


def inputs(variant: Variant, network: Network) -> dict[str, Any]:
    """All that an artifact is made from; its digest is what the artifact is found by.

    Args:
        network: the one that is quantized: for a variant of quantization-aware training, the
            sibling.
    """
    return {
        "variant": variant.name,
        "module": variant.module,
        "engine": variant.engine,
        "structure": asdict(network.structure or network.call),
        "input_shape": list(network.input_shape),
        **build_worker.contents(variant, network),
        **conditions(variant),
        "sources": sources.import_digests(makers(variant, network)),
    }


def makers(variant: Variant, network: Network) -> list[Callable[..., Any]]:
    """The functions that make an artifact. An edit of their code or imports builds it anew."""
    # The version of torch is among the conditions.
    parts = [part for part in network.parts if part.__module__.partition(".")[0] != "torch"]
    return [build_worker.build, variant.quantize, type(variant.backend), *parts]


def build(variant: Variant, network: Network, *, console: Console | None = None) -> Artifact:
    """Quantize a network, or find that it was done before.

    Raises:
        Unavailable: this machine can't run the variant, or there is no such sibling.
        UserError: the weights are damaged, quantizing or storing failed, or the cache can't be
            written.
    """
    reason = variant.unavailable_reason()
    if reason:
        raise Unavailable(f"{variant.name}: {reason}")
    network = _source(variant, network, console)

    def write(folder: Path) -> None:
        if variant.backend.isolated:
            _build_apart(variant, network, folder)
        else:
            build_worker.build(variant, network, folder)

    name = f"{network.name}-{variant.name}"
    return Artifact(variant, store.get_or_build(name, inputs(variant, network), write))


def _source(variant: Variant, network: Network, console: Console | None) -> Network:
    """The network that a variant quantizes: itself, or its quantization-aware sibling."""
    if not variant.quantization_aware:
        return network
    if network.fine_tuned is None:
        raise Unavailable(
            f"{variant.name}: {network.name} has no quantization-aware sibling: choose a "
            "variant that needs none"
        )
    return network.fine_tuned(console)


def quantize(variant: Variant, network: Network) -> Any:
    """The result of a variant's function, which ``build`` stores."""
    quantized = _source(variant, network, None)
    with build_worker.short_warnings(variant):
        return variant.quantize(quantized.load(), **build_worker.arguments(variant, quantized))


def _build_apart(variant: Variant, network: Network, folder: Path) -> None:
    request = {
        "variant": variant.name,
        "module": variant.module,
        "network": asdict(network.call),
        "contents": build_worker.contents(variant, network),
        "folder": str(folder),
    }
    try:
        with worker.start("qmodels.variants.build_worker") as process:
            outcome = process.ask(Outcome, request, timeout=_BUILD_SECONDS)
    except UserError as error:  # it died
        raise build_worker.build_failure(variant, str(error), folder) from None
    if outcome.unavailable is not None:
        raise Unavailable(outcome.unavailable)
    if outcome.failed is not None:
        raise UserError(outcome.failed)
