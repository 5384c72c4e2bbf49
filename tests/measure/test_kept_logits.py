"""Logits that later runs take, and what has them computed again. Three seconds."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from qmodels import variants
from qmodels.measure.kept_logits import KeptLogits
from qmodels.network import Network, images
from qmodels.network.evaluation import Predictions
from qmodels.variants import Artifact
from qmodels.variants.registry import all_variants

# The first test images of the digits, several times: batches of 250.
POSITIONS = [*range(360)] * 8
BATCHES, PART = 12, 2


@pytest.fixture(scope="module")
def artifact(small_network: Network) -> Artifact:
    return variants.build(all_variants()["fp32"], small_network)


class Counted:
    """A quick forward of an artifact that counts its calls, and may change its outputs."""

    def __init__(
        self, artifact: Artifact, change: Callable[[Tensor], Tensor] = lambda logits: logits
    ) -> None:
        self.artifact, self.change = artifact, change
        self.calls = 0

    def __call__(self, images: Tensor) -> Tensor:
        self.calls += 1
        return self.change(images.flatten(1)[:, 500:510].clone())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where logits are kept: an empty cache."""
    monkeypatch.setenv("QMODELS_CACHE_DIR", str(tmp_path))
    return tmp_path / "logits"


def evaluate(network: Network, forward: Counted) -> tuple[Tensor, KeptLogits]:
    """Logits as a new run gets them."""
    forward.calls = 0
    kept = KeptLogits(network, POSITIONS)
    predictions = kept.evaluate(forward.artifact, forward)
    assert isinstance(predictions, Predictions)
    assert torch.equal(predictions.labels, network.labels[POSITIONS])
    return predictions.logits, kept


def test_a_later_run_computes_a_tenth_and_has_the_same_bits(
    small_network: Network, artifact: Artifact, folder: Path
) -> None:
    forward = Counted(artifact)
    logits, first = evaluate(small_network, forward)
    assert (forward.calls, first.lines()) == (BATCHES, [])
    again, second = evaluate(small_network, forward)
    assert torch.equal(again, logits)
    assert forward.calls == PART
    assert second.reused == {"fp32": None}
    (line,) = second.lines()
    assert line.startswith(
        "logits of 1 variant are from an earlier run; one batch in ten was computed"
    )
    (file,) = folder.iterdir()
    assert torch.equal(load_file(file)["logits"], logits)


def test_the_tenth_is_another_in_each_run(
    small_network: Network, artifact: Artifact, folder: Path
) -> None:
    seen = set()

    def note(logits: Tensor) -> Tensor:
        seen.add(float(logits.sum()))
        return logits

    evaluate(small_network, Counted(artifact))
    for _ in range(8):
        torch.manual_seed(0)
        evaluate(small_network, Counted(artifact, note))
    assert len(seen) > PART


@pytest.mark.parametrize("place", [-1, -4000], ids=["last", "within"])
def test_damaged_logits_are_computed_again(
    small_network: Network, artifact: Artifact, folder: Path, place: int
) -> None:
    forward = Counted(artifact)
    logits, _ = evaluate(small_network, forward)
    (file,) = folder.iterdir()
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    again, kept = evaluate(small_network, forward)
    assert torch.equal(again, logits)
    assert forward.calls == BATCHES
    assert kept.lines() == [f"{file} is damaged or can't be read, so its logits were computed"]
    evaluate(small_network, forward)
    assert forward.calls == PART, "written anew"


@pytest.mark.parametrize("content", [b"", b"\0" * 100], ids=["empty", "zeros"])
def test_a_file_that_holds_no_logits_is_damaged(
    small_network: Network, artifact: Artifact, folder: Path, content: bytes
) -> None:
    forward = Counted(artifact)
    evaluate(small_network, forward)
    (file,) = folder.iterdir()
    file.write_bytes(content)
    _, kept = evaluate(small_network, forward)
    assert forward.calls == BATCHES
    assert kept.lines() == [f"{file} is damaged or can't be read, so its logits were computed"]


def test_a_changed_forward_has_all_logits_computed_again(
    small_network: Network, artifact: Artifact, folder: Path
) -> None:
    evaluate(small_network, Counted(artifact))
    changed = Counted(artifact, lambda logits: torch.nextafter(logits, logits + 1))
    logits, kept = evaluate(small_network, changed)
    assert changed.calls == PART + BATCHES
    (line,) = kept.lines()
    assert line == "fp32: logits differ from those of an earlier run, so all were computed"
    again, _ = evaluate(small_network, changed)
    assert torch.equal(again, logits)
    assert changed.calls == PART


def test_logits_that_are_not_finite_are_not_kept(
    small_network: Network, artifact: Artifact, folder: Path
) -> None:
    broken = Counted(artifact, lambda logits: logits.index_fill(0, torch.tensor([3]), torch.inf))
    for _ in range(2):
        logits, kept = evaluate(small_network, broken)
        assert not logits.isfinite().all()
        assert (broken.calls, kept.lines()) == (BATCHES, [])
    assert not folder.exists()


def other_threads(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(torch, "get_num_threads", lambda: 77)


def other_variable(patch: pytest.MonkeyPatch) -> None:
    patch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")


def other_flags(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("qmodels.system.machine.cpu_flags", lambda: frozenset({"sse2"}))


def other_versions(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("qmodels.system.machine.versions", lambda: {"torch": "0"})


def other_code(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("qmodels.system.sources.import_digests", lambda _: {"qmodels": "edited"})


@pytest.mark.parametrize(
    "change", [other_threads, other_variable, other_flags, other_versions, other_code]
)
def test_whatever_logits_depend_on_has_them_computed(
    small_network: Network,
    artifact: Artifact,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[pytest.MonkeyPatch], None],
) -> None:
    forward = Counted(artifact)
    evaluate(small_network, forward)
    change(monkeypatch)
    _, kept = evaluate(small_network, forward)
    assert (forward.calls, kept.lines()) == (BATCHES, [])


def test_other_images_and_other_artifacts_have_logits_of_their_own(
    small_network: Network, artifact: Artifact, folder: Path
) -> None:
    forward = Counted(artifact)
    evaluate(small_network, forward)
    every = range(len(small_network.labels))
    darker = 0.9 * images.read(small_network.test_images, every)
    other = replace(small_network, test=(darker, small_network.targets))
    evaluate(other, forward)
    assert forward.calls == BATCHES
    rounded = variants.build(all_variants()["weight-int4"], small_network)
    forward.artifact = replace(rounded, variant=artifact.variant)
    evaluate(other, forward)
    assert forward.calls == BATCHES


def test_logits_that_cannot_be_kept_lose_nothing(
    small_network: Network, artifact: Artifact, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write_text("a file in the way")
    logits, kept = evaluate(small_network, Counted(artifact))
    assert len(logits) == len(POSITIONS)
    assert any("logits are not kept: " in line for line in kept.lines())


def test_forgotten_logits_are_computed_again(
    small_network: Network, artifact: Artifact, folder: Path
) -> None:
    forward = Counted(artifact)
    _, first = evaluate(small_network, forward)
    first.forget("fp32")  # it did not take them
    _, second = evaluate(small_network, forward)
    assert forward.calls == PART
    second.forget("fp32")
    second.forget("fp32")  # another process may have deleted it
    evaluate(small_network, forward)
    assert forward.calls == BATCHES
