"""Show what this machine has, and what would be used."""

import argparse
import json
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from typing import Any

import torch

from qmodels import data, variants
from qmodels.backends.torch_engine import default_engine
from qmodels.cli import common
from qmodels.system import machine, packages, store
from qmodels.training import checkpoints
from qmodels.training.checkpoints import Checkpoint
from qmodels.variants import Variant

EXAMPLE = "qmodels doctor --json"
# The packages of the extras.
_OPTIONAL = ("nncf", "onnx", "onnxruntime", "onnxscript", "openvino", "torchao")
_INDENT = 18


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    common.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print the facts, one a line."""
    known = _facts()
    if arguments.json:
        print(json.dumps(known))
        return
    for name, value in known.items():
        print(f"{name.replace('_', ' '):<{_INDENT}}{_indent(value)}")


def _facts() -> dict[str, Any]:
    known = variants.all_variants()
    by_engine: dict[str, list[Variant]] = {}
    for variant in known.values():
        by_engine.setdefault(variant.engine, []).append(variant)
    return {
        "machine_class": machine.machine_class(),
        "cores": machine.physical_cores(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "quantized_engine": default_engine(),
        "engines": {engine: _engine_status(each) for engine, each in by_engine.items()},
        "cache_dir": str(store.cache_dir()),
        "data_dir": str(data.data_dir()),
        "training_split": "found"
        if data.has_training_split()
        else "not in data dir: `qmodels train` downloads it",
        "checkpoints": [_checkpoint_line(checkpoint) for checkpoint in checkpoints.known()],
        "missing": {
            name: reason
            for name, variant in known.items()
            if (reason := variant.unavailable_reason())
        },
        "deprecated": _deprecation_line(known.values()),
        "versions": machine.versions() | packages.versions(_OPTIONAL),
    }


def _engine_status(users: Sequence[Variant]) -> str:
    """One line on an engine: whether it works, and whether its int8 kernels saturate."""
    for variant in sorted(users, key=lambda variant: len(variant.requires)):
        obstacle = variant.backend.obstacle()
        if obstacle:
            return f"does not run here ({obstacle.reason})"
        missing = [module for module in variant.requires if find_spec(module) is None]
        if missing:
            return f"{', '.join(missing)} not installed"
        verdict = variant.probe()
        if verdict.broken:
            return f"does not work ({verdict.broken})"
    if verdict.saturates is None:
        return "works; no int8 convolution"
    if verdict.saturates:
        return "works; int8 saturates at full range: weights get seven bits"
    return "works; int8 is exact"


def _deprecation_line(known: Iterable[Variant]) -> str:
    """What torch announces to remove, and the variants that go with it."""
    lines: dict[str, list[str]] = {}
    for variant in known:
        if line := variant.backend.deprecation():
            lines.setdefault(line, []).append(variant.name)
    return "; ".join(f"{', '.join(names)}: {line}" for line, names in lines.items()) or "none"


def _checkpoint_line(checkpoint: Checkpoint) -> str:
    training = ", fine-tuned" if checkpoint.parent else ""
    if checkpoint.quantization_aware:
        training = ", quantization-aware"
    return (
        f"{checkpoint.dataset} {checkpoint.architecture} width {checkpoint.width}{training}: "
        f"top-1 {checkpoint.top1:.2f} % ({checkpoint.path})"
    )


def _indent(value: Any) -> str:
    if isinstance(value, dict):
        value = [f"{key}: {item}" for key, item in value.items()]
    lines = value if isinstance(value, list) else [str(value)]
    return ("\n" + " " * _INDENT).join(lines) or "none"
