"""What a base is asked for: builds, and runs of its benches without latency."""

import json
from pathlib import Path

import pytest

from qmodels import benches
from qmodels.base import checkouts
from qmodels.base.checkouts import Base
from qmodels.base.requests import BuildResult, build, measure
from qmodels.network import Network, open_network
from qmodels.system.checkout import THIS_CHECKOUT
from tests.base.conftest import find

BENCHES = sorted(Path(benches.__file__).parent.glob("bench_*.py"))


def this_code() -> Base:
    """This checkout as its own base."""
    return checkouts.find(None, None, THIS_CHECKOUT.root, "qmodels.training.networks")


def requests(repository: Path, name: str) -> list[object]:
    """The requests of a name that were made so far."""
    asked = (repository.parent / "asked").read_text().splitlines()
    return [request for request in map(json.loads, asked) if request.get("request") == name]


def test_what_can_not_be_built_is_a_line_for_its_variant(
    repository: Path, digits_network: Network
) -> None:
    base = find(str(repository), repository)
    built = build(base, digits_network, ["fp32", "int8", "unknown"])
    assert built == BuildResult({"fp32": "a"}, {"int8": "int8: no compiler"})
    (request,) = requests(repository, "build")
    assert request["variants"] == ["fp32", "int8"]  # type: ignore[index]
    assert request["network"] == {  # type: ignore[index]
        "function": "qmodels.training.networks:usual",
        "arguments": {"dataset": "digits", "architecture": "resnet34", "width": 8},
    }
    assert build(base, digits_network, ["unknown"]) == BuildResult({}, {})


def test_a_base_is_measured_once(
    repository: Path, digits_network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(base: str, *names: str, threads: int = 1) -> list[str]:
        run = measure(
            find(base, repository),
            digits_network,
            names,
            BENCHES,
            threads=threads,
            accuracy_images=None,
        )
        return [key.variant for key in run.entries]

    def count() -> int:
        return len(requests(repository, "measure"))

    assert measured("main", "fp32", "unknown") == ["fp32"]
    assert measured("main", "fp32") == ["fp32"]
    assert count() == 1, "it is in the cache"
    assert measured(str(repository), "fp32") == ["fp32"]
    assert count() == 1, "a folder with the same code is no other"
    assert measured("main", "unknown") == []
    assert count() == 1
    assert measured("main", "fp32", "int8") == ["fp32", "int8"]
    measured("main", "fp32", threads=2)
    monkeypatch.setenv("CLASS", "another")
    measured("main", "fp32")
    monkeypatch.delenv("CLASS")
    assert count() == 4
    (repository / "qmodels" / "resnet.py").write_text("edited, not committed")
    measured(str(repository), "fp32")
    measured(str(repository), "fp32")
    assert count() == 6, "what changes without a commit is not kept"


def test_a_base_runs_the_benches_that_it_has(repository: Path, digits_network: Network) -> None:
    base = find(str(repository), repository)
    (repository / "test_a.py").touch()
    files = [*BENCHES, repository / "test_a.py", repository / "test_b.py"]
    measure(base, digits_network, ["fp32"], files, threads=1, accuracy_images=None)
    (request,) = requests(repository, "measure")
    assert request["benches"] == ["qmodels.benches", "test_a.py"]  # type: ignore[index]


def test_a_base_that_has_the_packaged_benches_runs_them_by_their_paths(
    repository: Path, digits_network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a path, pytest would import the ``conftest.py`` of its tests."""
    bench = repository / "benches" / "bench_size.py"
    bench.parent.mkdir()
    bench.touch()
    monkeypatch.setattr(benches, "__file__", str(bench.parent / "__init__.py"))
    base = find(str(repository), repository)
    measure(base, digits_network, ["fp32"], [bench], threads=1, accuracy_images=None)
    (request,) = requests(repository, "measure")
    assert request["benches"] == ["benches/bench_size.py"]  # type: ignore[index]


def test_a_build_is_of_the_network_that_the_checkouts_function_gives() -> None:
    network = open_network("tests.outside:network")
    built = build(this_code(), network, ["fp32", "cuda-fp32"])
    manifest = json.loads(Path(built.folders["fp32"], "manifest.json").read_text())
    assert manifest["inputs"]["weights"] == network.sha256
    assert set(built.folders) | set(built.failures) == {"fp32", "cuda-fp32"}
    assert all("\n" not in line for line in built.failures.values())


def test_the_benches_of_a_checkout_measure_what_is_asked_for_but_no_latency() -> None:
    network = open_network("tests.outside:network")
    run = measure(this_code(), network, ["fp32"], BENCHES, threads=1, accuracy_images="100")
    assert {key.network for key in run.entries} == {"sides"}
    entries = {entry.name: entry for entry in run.entries.values()}
    assert {"bench_accuracy[fp32]", "bench_size[fp32]", "bench_kernels[fp32]"} <= set(entries)
    assert not any("latency" in name for name in entries)
    accuracy = entries["bench_accuracy[fp32]"]
    assert accuracy.images == 100
    assert accuracy.metrics["top1"].value > 90
    assert accuracy.weights == network.sha256[:16]
