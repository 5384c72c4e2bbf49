"""A user's own network, in a user's own repository."""

from pathlib import Path

import pytest

from qmodels import gate
from qmodels.cli import runs
from qmodels.gate.scores import Scores
from qmodels.system import machine
from qmodels.system.errors import UserError
from tests.eager import needs_eager_quantization
from tests.gate.repositories import git
from tests.harness.conftest import Repository
from tests.harness.planting import TOLERANCES, UPDATE, Result, assert_red, edit
from tests.outside import RUNTIME

QUANTIZED = """
import torch
from qmodels import Network
from tests import outside

def network():
    pixels, labels = outside.images(120)
    module = outside.trained()
    pass
    return Network("birds", module, outside.images(60)[0], (pixels, labels))

def confidence(outputs, labels):
    return outputs.softmax(1).gather(1, labels[:, None])[:, 0]

def scored():
    network_ = network()
    return Network("scored", network_.module, network_.calibration, network_.test, confidence)

def others():
    return Network("others", outside.trained(), outside.images(60)[0], outside.images(80))
"""
REQUIRE = "--qmodels-require-baseline"
BENCHES = ("accuracy", "kernels", "latency", "memory", "size")
INI = """
[tool.pytest.ini_options]
qmodels_networks = ["quantized:network"]
qmodels_baselines = "stored"
"""


@pytest.fixture
def birds(repository: Repository) -> Repository:
    """A repository with a network of its own."""
    (repository.folder / "quantized.py").write_text(QUANTIZED)
    (repository.folder / "pyproject.toml").write_text(INI)
    (repository.folder / "stored").mkdir()
    (repository.folder / "stored" / "tolerances.toml").write_text(TOLERANCES)
    return repository


def run(birds: Repository, *arguments: str) -> Result:
    chosen = "--qmodels-variants=fp32,fx-int8"
    return birds.pytest("--pyargs", "qmodels.benches", "-p", "short", chosen, *arguments)


def test_a_network_is_measured_stored_and_gated_where_its_owner_keeps_it(birds: Repository) -> None:
    # A process of its own serves what memory is measured of, and imports the function.
    some = ("-k", "accuracy or size or memory and fp32")
    stored = run(birds, *some, UPDATE)
    assert stored.status == 0, stored.printed
    path = gate.baseline_path(birds.folder / "stored", machine.machine_class(), "birds")
    entries = gate.read_run(path).entries
    assert {key.network for key in entries} == {"birds"}
    assert {dict(entry.source)["function"] for entry in entries.values()} == {"quantized:network"}
    some = ("-k", "accuracy or size")
    again = run(birds, *some)
    assert again.status == 0, again.printed
    assert "network: quantized:network" in again.printed
    assert "0 regressed, 0 improved, 0 undecided, 0 new, 0 missing" in again.printed
    # Other weights are judged: here half of the answers are wrong.
    edit(birds.folder / "quantized.py", "    pass", "    module.classify.bias[1] += 100")
    assert_red(run(birds, *some), "bench_accuracy[fp32] regressed: top1")


@needs_eager_quantization
def test_a_score_takes_the_place_of_top_1(birds: Repository) -> None:
    record = birds.folder / "run.json"
    scored = "--qmodels-network=quantized:scored"
    some = (scored, "-k", "accuracy or latency and b1 or kernels")
    stored = run(birds, *some, UPDATE)
    assert stored.status == 0, stored.printed
    again = run(birds, *some, f"--benchmark-json={record}")
    assert again.status == 0, again.printed
    assert "  score  vs fp32" in again.printed
    assert "top-1" not in again.printed
    assert "loses at most 0.5 % of the score" in again.printed
    fp32, fx = (e for e in gate.read_run(record).entries.values() if "score" in e.metrics)
    assert 0.5 < fp32.metrics["score"].value < 1
    assert isinstance(fp32.by_image, Scores)
    assert fp32.metrics["score"].value == pytest.approx(fp32.by_image.values.mean(), abs=1e-6)
    assert fx.metrics["score_drop"].ci is not None
    assert fx.metrics["sqnr_db"].value > 20
    # Every image is as right as before, by less.
    edit(birds.folder / "quantized.py", "    pass", "    module.classify.weight *= 0.5")
    worse = run(birds, scored, "-k", "accuracy")
    assert_red(
        worse, "bench_accuracy[fp32] regressed: score from 0.", "120 images worse and 0 better"
    )


def test_a_module_of_the_network_defines_variants_and_runtimes(birds: Repository) -> None:
    """Those of processes of their own, and of a base, know them too."""
    (birds.folder / "runtime.py").write_text(RUNTIME)
    edit(birds.folder / "quantized.py", "import torch\n", "import runtime, torch\n")
    chosen = ("-k", "not cuda and not b8", "--qmodels-variants=half-weights", UPDATE)
    stored = birds.pytest("--pyargs", "qmodels.benches", "-p", "short", *chosen)
    assert stored.status == 0, stored.printed
    path = gate.baseline_path(birds.folder / "stored", machine.machine_class(), "birds")
    measured = {key.bench for key in gate.read_run(path).entries if key.variant == "half-weights"}
    assert {f"bench_{name}" for name in BENCHES} == measured
    edit(birds.folder / "runtime.py", "BACKEND = Halves()", "HALVES = Halves()")
    edit(birds.folder / "runtime.py", "backend=BACKEND", "backend=HALVES")
    unnamed = birds.pytest("--pyargs", "qmodels.benches", "-k", "size", *chosen[2:3])
    assert "module runtime has no BACKEND: give its backend that name" in unnamed.printed


def test_a_base_is_a_state_of_the_repository(
    birds: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its code and its weights are measured by the qmodels that is installed."""
    monkeypatch.setenv("QMODELS_CACHE_DIR", str(birds.folder / "cache"))
    (birds.folder / ".gitignore").write_text("cache\n__pycache__\n")
    for arguments in (("init", "-b", "main"), ("add", "."), ("commit", "-m", "first")):
        git(birds.folder, *arguments)
    base = ("--qmodels-base=main", "--qmodels-variants=fp32")
    same = run(birds, *base, "-k", "accuracy or size or latency and b1")
    assert same.status == 0, same.printed
    assert " ok, 0 regressed, 0 improved, 0 undecided, 0 new, 0 missing" in same.printed
    edit(birds.folder / "quantized.py", "    pass", "    module.classify.bias[1] += 100")
    changed = run(birds, *base, "-k", "accuracy or size")
    assert_red(changed, "bench_accuracy[fp32] regressed: top1 from 100.00 % to 50.00 %", "the base")
    assert "bench_size[fp32] regressed" not in changed.printed


@needs_eager_quantization
def test_several_networks_are_measured_side_by_side(birds: Repository) -> None:
    """What is stored of one does not depend on the others of the session."""
    record = birds.folder / "run.json"
    both = ("-o", "qmodels_networks=quantized:network quantized:others")
    some = ("-k", "accuracy or size or latency and b1")
    stored = run(birds, *both, *some, UPDATE)
    assert stored.status == 0, stored.printed
    folder = birds.folder / "stored" / machine.machine_class()
    for name in ("birds", "others"):
        entries = gate.read_run(folder / f"{name}.json").entries.values()
        assert {entry.key.network for entry in entries} == {name}
        assert "bench_latency[fx-int8-b1]" in {entry.name for entry in entries}
        assert f"= qmodels: {name} =" in stored.printed
    some = ("-k", "accuracy or size")
    alone = run(birds, *some, REQUIRE)
    assert alone.status == 0, alone.printed
    assert " 0 new, 0 missing" in alone.printed
    edit(birds.folder / "quantized.py", "    pass", "    module.classify.bias[1] += 100")
    changed = run(birds, *both, *some, f"--benchmark-json={record}", REQUIRE)
    assert_red(changed, "bench_accuracy[fp32] regressed: top1 from 100.00 % to 50.00 %")
    assert changed.printed.count("= qmodels: ") == 2
    others = changed.printed.partition("= qmodels: others =")[2]
    assert " 0 regressed" in others
    with pytest.raises(UserError, match=r"is of birds, others: name one, as .*run.json:birds$"):
        runs.read_run(record)
    for name, regressed in (("birds", True), ("others", False)):
        findings = runs.read_run(Path(f"{record}:{name}")).findings or ()
        assert {finding.key.network for finding in findings} == {name}
        assert ("regressed" in {finding.verdict for finding in findings}) == regressed
    with pytest.raises(UserError, match="has no network trees: choose from birds, others"):
        runs.read_run(Path(f"{record}:trees"))


def test_a_network_is_named_or_left_out_by_an_option(birds: Repository) -> None:
    named = run(birds, "-k", "size", "--qmodels-network=quantized:others")
    assert named.status == 0, named.printed
    assert "qmodels: others, " in named.printed
    packaged = run(birds, "-k", "size", "--qmodels-dataset=digits")
    assert packaged.status == 0, packaged.printed
    assert "qmodels: digits-resnet34-w8, " in packaged.printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--qmodels-network=quantised:network"], "function 'quantised:network' can't be imported"),
        (["--qmodels-network=quantized:network", "--qmodels-width=8"], "width is of packaged"),
        (
            ["-o", "qmodels_networks=quantized:network quantized:network"],
            "qmodels_networks has 2 networks birds: give each its own name",
        ),
    ],
)
def test_a_network_that_is_not_there_is_one_line(
    birds: Repository, arguments: list[str], said: str
) -> None:
    result = run(birds, *arguments)
    assert result.status == pytest.ExitCode.USAGE_ERROR
    assert said in result.printed
    assert "Traceback" not in result.printed


def test_a_network_that_cannot_be_measured_ends_the_session_in_one_line(birds: Repository) -> None:
    edit(birds.folder / "quantized.py", "    pass", "    module.train()")
    result = run(birds, "-k", "size")
    assert result.status == 2
    assert result.printed.count("network birds: its module is in training mode: call eval()") == 1
    assert "Traceback" not in result.printed
