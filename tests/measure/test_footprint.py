"""What the process of an artifact holds, and what counts as its own."""

import copy
import ctypes
import json
import os
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from qmodels import gate, variants
from qmodels.gate import Key, read_tolerances
from qmodels.measure import footprint, memory
from qmodels.network import Network
from qmodels.system import store
from qmodels.system.errors import UserError
from qmodels.variants import Artifact, Variant

BASELINES = Path(__file__).parents[2] / "baselines"
TOLERANCES = read_tolerances(BASELINES)
STORED = BASELINES / "linux-x86_64-avx512_bf16" / "digits-resnet34-w8.json"
ON_CPU = {name: variant for name, variant in variants.all_variants().items() if not variant.on_gpu}
BYTES_OF_A_WEIGHT = {"float32": 4, "bfloat16": 2, "int8": 1}
# Loads what another module does, and as many bytes more as it is told.
PLANTED = """
    import os
    from importlib import import_module

    import numpy as np

    def loader(variant, folder, threads):
        load = import_module(os.environ["SERVED_BY"]).loader(variant, folder, threads)

        def also_copy():
            forward = load()
            copy = np.ones(int(os.environ["COPIED"]), np.uint8)
            return lambda images: (forward(images), copy)

        return also_copy
"""


def built(name: str, network: Network) -> Artifact:
    variant = variants.all_variants()[name]
    reason = variant.unavailable_reason()
    if reason:
        pytest.skip(reason)
    return variants.build(variant, network)


def served_by(artifact: Artifact, module: str) -> Artifact:
    backend = copy.copy(artifact.variant.backend)
    vars(backend)["service"] = module
    return replace(artifact, variant=replace(artifact.variant, backend=backend))


def second_copy(variant: Variant, model: nn.Module) -> int:
    """Bytes of the weights as a variant stores them."""
    weights = sum(weight.numel() for weight in model.parameters())
    if variant.name == "weight-int4":
        return weights // 2
    return weights * BYTES_OF_A_WEIGHT[variant.arithmetic]


needs_smaps = pytest.mark.skipif(
    footprint.obstacle() is not None, reason="this system does not report what a process holds"
)


# One for each way to serve a model: by torch, from a compiled library, and without torch.
SERVED = ("fp32", "pt2e-int8", "onnx-int8", "openvino-int8")


@needs_smaps
@pytest.mark.parametrize("name", SERVED)
def test_a_second_copy_of_the_weights_is_counted(
    name: str,
    small_network: Network,
    digits_model: nn.Module,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As much as the shipped network has."""
    artifact = built(name, small_network)
    (tmp_path / "planted.py").write_text(textwrap.dedent(PLANTED))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("SERVED_BY", memory.request(artifact, threads=1)["module"])
    copied = second_copy(artifact.variant, digits_model)
    monkeypatch.setenv("COPIED", str(copied))

    once, twice = (
        memory.process_memory(served, threads=1)["memory_bytes"]
        for served in (artifact, served_by(artifact, "planted"))
    )
    tolerance = TOLERANCES.tolerance("memory_bytes", name, artifact.variant.arithmetic) or 0.0
    allowed = max(0.1 * copied, once.slack(tolerance))
    assert twice.value - once.value == pytest.approx(copied, abs=allowed)
    assert allowed < copied / 2


@pytest.mark.parametrize("name", ON_CPU)
def test_the_tolerance_is_well_below_a_second_copy(name: str, digits_model: nn.Module) -> None:
    stored = gate.read_run(STORED).entries[Key("digits-resnet34-w8", "bench_memory", name, 1)]
    limit = TOLERANCES.tolerance("memory_bytes", name, stored.arithmetic) or 0.0
    copied = second_copy(ON_CPU[name], digits_model)
    assert copied > 1.5 * stored.metrics["memory_bytes"].slack(limit)


@needs_smaps
def test_what_is_held_repeats_within_the_tolerance(small_network: Network) -> None:
    artifact = built("onnx-int8", small_network)
    first, second = (memory.process_memory(artifact, threads=1)["memory_bytes"] for _ in range(2))
    allowed = first.slack(TOLERANCES.tolerance("memory_bytes", "onnx-int8", "int8") or 0.0)
    assert abs(second.value - first.value) <= allowed


@pytest.mark.parametrize(
    ("name", "has_torch"), [("onnx-int8", False), ("openvino-int8", False), ("fp32", True)]
)
def test_a_runtime_is_measured_without_what_it_does_not_need(
    name: str, has_torch: bool, small_network: Network
) -> None:
    artifact = built(name, small_network)
    told = memory.ask(artifact, threads=1)
    assert told.torch == has_torch
    assert 30e6 < told.resident < (3e9 if has_torch else 250e6)


MAPPED = """
    import mmap, os, shutil, sys, tempfile
    from pathlib import Path

    def loader(variant, folder, threads):
        def load():
            path = folder / "weights"
            if os.environ["WHERE"] == "of a library":
                path = folder.parent / "library"
            elif os.environ["WHERE"] != "here":
                path = shutil.copy(path, Path(tempfile.gettempdir()) / "unpacked")
            file = open(path, "rb")
            if os.environ["WHERE"] == "gone":
                os.unlink(path)
            mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
            sum(mapped[:: mmap.PAGESIZE])
            return lambda images: mapped
        return load
"""


@needs_smaps
@pytest.mark.parametrize("where", ["here", "elsewhere", "gone"])
def test_mapped_files_count_where_they_are_the_artifacts_own(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHERE", where)
    mapping = serving(MAPPED, tmp_path, monkeypatch)
    (mapping.folder / "weights").write_bytes(bytes(8_000_000))
    assert memory.ask(mapping, threads=1).mapped == pytest.approx(8e6, rel=0.01)


@needs_smaps
@pytest.mark.parametrize("written", ["long ago", "tomorrow"])
def test_files_of_libraries_do_not_count_whenever_they_were_written(
    written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHERE", "of a library")
    mapping = serving(MAPPED, tmp_path, monkeypatch)
    library = tmp_path / "library"
    library.write_bytes(bytes(8_000_000))
    when = 0 if written == "long ago" else time.time() + 86400
    os.utime(library, (when, when))
    assert memory.ask(mapping, threads=1).mapped == 0


@needs_smaps
@pytest.mark.parametrize("name", ["openvino-int8", "pt2e-int8"])
def test_what_runtimes_map_is_known_as_the_artifacts(
    name: str, small_network: Network, small_model: nn.Module
) -> None:
    artifact = built(name, small_network)
    weights = sum(weight.numel() for weight in small_model.parameters())
    assert (memory.ask(artifact, threads=1).mapped or 0) > 0.9 * weights


# Leaves room in the heap before it loads, fills it, and frees every second block.
FREEING = """
    before = [bytes(100) for _ in range(220_000)]
    before = before[::2]

    def loader(variant, folder, threads):
        def load():
            blocks = [bytes(100) for _ in range(110_000)]
            kept = blocks[::2]
            return lambda images: kept
        return load
"""
# Takes a block that it does not touch, where an import has left room for it, or where none has.
UNTOUCHED = """
    import os
    import numpy as np

    room = np.empty(int(os.environ["ROOM"]), np.uint8)
    after = bytes(100)
    del room

    def loader(variant, folder, threads):
        def load():
            block = np.empty(4_000_000, np.uint8)
            return lambda images: block
        return load
"""


@needs_smaps
def test_blocks_in_use_count_wherever_they_lie_and_free_ones_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = sys.getsizeof(bytes(100)) + 16  # the allocator rounds up, and has a header
    expected = 55_000 * (block + 8)  # and the list
    freeing = serving(FREEING, tmp_path, monkeypatch)
    assert memory.ask(freeing, threads=1).used == pytest.approx(expected, rel=0.05)


@needs_smaps
@pytest.mark.parametrize("room", [100, 5_000_000])
def test_a_large_block_counts_wherever_it_lies(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROOM", str(room))
    untouched = serving(UNTOUCHED, tmp_path, monkeypatch)
    assert memory.ask(untouched, threads=1).used == pytest.approx(4e6, rel=0.01)


def serving(module: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Artifact:
    """An empty artifact that a module of this source serves."""
    (folder / "served.py").write_text(textwrap.dedent(module))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    artifact = folder / "artifact"
    artifact.mkdir()
    inputs = {
        "variant": "fp32",
        "module": "qmodels.variants.floating",
        "structure": {"function": "birds:network", "arguments": {}},
        "input_shape": [3, 32, 32],
        "machine_class": "any",
        "saturates": False,
        "versions": {},
        "cpu_flags": None,
    }
    (artifact / "manifest.json").write_text(
        json.dumps({"format": store.MANIFEST_FORMAT, "inputs": inputs, "files": {}})
    )
    return served_by(Artifact(variants.all_variants()["fp32"], artifact), "served")


def test_memory_of_this_process_does_not_count(small_network: Network) -> None:
    artifact = built("static-int8", small_network)
    ballast = torch.ones(500_000_000, dtype=torch.uint8)  # in this process, not in that one
    assert 50e6 < memory.process_memory(artifact, threads=1)["rss_bytes"].value < 1e9
    assert int(ballast[0]) == 1


@needs_smaps
def test_where_the_system_does_not_tell_only_resident_memory_is_known(
    monkeypatch: pytest.MonkeyPatch, small_network: Network
) -> None:
    assert footprint.read(lambda path: False) is not None
    assert memory.missing_metrics() == {}
    with monkeypatch.context() as patch:
        patch.setattr(ctypes, "CDLL", lambda name: object())  # musl, or an older glibc
        assert "its C library is not glibc 2.33" in memory.missing_metrics()["memory_bytes"]
    with monkeypatch.context() as patch:
        patch.setattr(footprint, "mallinfo", footprint.Mallinfo)  # of a heap that nobody uses
        assert "another allocator replaces glibc's" in memory.missing_metrics()["memory_bytes"]
    monkeypatch.setattr(footprint, "SMAPS", Path("/nowhere/smaps"))
    assert footprint.read(lambda path: False) is None
    assert memory.missing_metrics() == {"memory_bytes": "this system has no /nowhere/smaps"}
    nothing = memory.Memory(used=None, mapped=None, resident=1, torch=False)
    monkeypatch.setattr(memory, "ask", lambda artifact, threads: nothing)
    artifact = built("fp32", small_network)
    assert set(memory.process_memory(artifact, threads=1)) == {"rss_bytes"}


def test_a_process_that_fails_is_one_line(tmp_path: Path) -> None:
    nowhere = Artifact(variants.all_variants()["fp32"], tmp_path / "nowhere")
    with pytest.raises(UserError, match="nowhere/manifest.json is missing: delete ") as caught:
        memory.process_memory(nowhere, threads=1)
    assert "\n" not in str(caught.value)
