"""The plugin in repositories of others: where it does nothing, and where benches are theirs."""

import json

import pytest

from qmodels import gate
from tests.harness.conftest import Repository
from tests.harness.planting import UPDATE, Result, assert_red, edit
from tests.outside import RUNTIME, install

OWN_BENCH = """
import pytest
from qmodels.measure.metrics import METRICS

@pytest.mark.benchmark(group="size")
def test_files(benchmark, qmodels_artifact, qmodels_record):
    benchmark.pedantic(qmodels_artifact.load)
    size = METRICS["size_bytes"].of(qmodels_artifact.size_bytes)
    qmodels_record({"size_bytes": size}, batch_size=1, threads=1)
"""
OWN_METRIC = """
import qmodels

def test_names(qmodels_artifact, qmodels_record):
    count = {count}
    qmodels_record({{"names": qmodels.Metric(count, "names", "lower", tolerance=0.1)}})
"""
UNRELATED = """
import sys

def test_unrelated(benchmark):
    benchmark(sum, [1, 2])

def test_of_a_user_error():
    from qmodels.system.errors import UserError
    raise UserError("as any other")
"""


def test_an_unrelated_repository_imports_nothing_heavy(repository: Repository) -> None:
    repository.pytester.makepyfile("def test_unrelated(): pass")
    repository.pytester.makeconftest(
        """
        import sys

        def pytest_unconfigure():
            heavy = {"torch", "numpy", "scipy"} & set(sys.modules)
            print("imported:", sorted(heavy), "qmodels.harness" in sys.modules)
        """
    )
    result = repository.pytester.runpytest_subprocess("--co")
    result.stdout.fnmatch_lines(["*1 test collected*", "imported: [[]] True"])


def test_tests_beside_benches_are_left_alone(stored: Repository) -> None:
    (stored.folder / "test_unrelated.py").write_text(UNRELATED)
    record = stored.folder / "run.json"
    result = stored.run(".", "-k", "size or unrelated", f"--benchmark-json={record}")
    assert result.status == 1
    assert "1 failed, 3 passed" in result.printed
    assert "Traceback" not in result.printed
    assert "raise UserError" in result.printed, "pytest shows the source of a test's error"
    assert "gate: 2 ok, 0 regressed" in result.printed
    for group in ("benchmark: 1 tests", "benchmark 'size': 2 tests"):
        assert group in result.printed
    names = [timed["name"] for timed in json.loads(record.read_text())["benchmarks"]]
    assert sorted(names) == ["bench_size[fp32]", "bench_size[planted]", "test_unrelated"]
    assert [key.variant for key in gate.read_run(record).entries] == ["fp32", "planted"]
    deselected = stored.run(".", "-k", "unrelated and not user_error", CI="true")
    assert deselected.status == 0, deselected.printed
    assert "no bench was measured" not in deselected.printed


def test_a_bench_of_a_repository_is_gated_and_missed_when_it_vanishes(
    repository: Repository,
) -> None:
    bench = repository.folder / "tests" / "test_size.py"
    bench.parent.mkdir()
    bench.write_text(OWN_BENCH)
    options = ("--qmodels-dataset=digits", "--qmodels-variants=fp32")
    stored = repository.pytest("tests", *options, UPDATE)
    assert stored.status == 0, stored.printed
    assert "baseline updated" in stored.printed
    green = repository.pytest("tests", *options, CI="true")
    assert green.status == 0, green.printed
    assert "gate: 1 ok, 0 regressed" in green.printed
    (bench.parent / "test_other.py").write_text(OWN_BENCH.replace("test_files", "test_more"))
    lost = "FAILED test_files[fp32] missing: size_bytes"
    elsewhere = repository.pytest("tests/test_other.py", *options, CI="true")
    assert lost not in elsewhere.printed, "it was not asked for"
    edit(bench, "def test_files", "def test_renamed")
    assert_red(repository.pytest("tests/test_size.py", *options, CI="true"), lost)
    bench.unlink()
    assert_red(repository.pytest("tests", *options, CI="true"), lost)


def test_a_metric_of_a_repository_is_shown_and_gated(repository: Repository) -> None:
    bench = repository.folder / "tests" / "test_names.py"
    bench.parent.mkdir()
    record = repository.folder / "run.json"

    def run(count: str, *options: str, **environment: str) -> Result:
        bench.write_text(OWN_METRIC.format(count=count))
        chosen = ("--qmodels-dataset=digits", "--qmodels-variants=fp32", "-v")
        return repository.pytest("tests", *chosen, *options, **environment)

    stored = run("100", UPDATE)
    assert stored.status == 0, stored.printed
    green = run("109", f"--benchmark-json={record}", CI="true")
    assert green.status == 0, green.printed
    assert "names (names)" in green.printed
    assert "109.000 (+9.000)" in green.printed
    (entry,) = gate.read_run(record).entries.values()
    assert entry.metrics["names"].value == 109
    line = "test_names[fp32] regressed: names from 100.00 names to 111.00 names (tolerance 10.00"
    assert_red(run("111"), line)
    said = "metric 'names' can't be recorded: "
    assert_red(run("float('nan')"), f"{said}value: expected a number, not nan")
    assert_red(run("True"), f"{said}value: expected a number, not True")
    of_numpy = run("__import__('numpy').float32(100)", UPDATE)
    assert of_numpy.status == 0, of_numpy.printed
    again = run("100", CI="true")
    assert "1 ok" in again.printed, again.printed
    bench.write_text(OWN_METRIC.format(count=1).replace('"names": ', '"top1": '))
    refused = repository.pytest("tests", "--qmodels-dataset=digits", "--qmodels-variants=fp32")
    assert_red(refused, "metric 'top1' is in 'names', lower is better, and qmodels has one in '%'")


def test_a_backend_of_another_package_is_measured_by_every_bench_and_gated(
    stored: Repository,
) -> None:
    install(stored.folder, "runtime", RUNTIME)
    variants = "half-weights"
    updated = stored.run("-k", "not b8", UPDATE, variants=variants)
    assert updated.status == 0, updated.printed
    for bench in ("accuracy", "kernels", "latency", "memory", "size"):
        assert f'"bench_{bench}[half-weights' in stored.baseline.read_text()
    (stored.folder / "runtime.py").write_text(RUNTIME.replace("v.bfloat16()", "v"))
    fatter = stored.run("-k", "size", variants=variants, CI="true")
    assert_red(fatter, "bench_size[half-weights] regressed: size_bytes")


def test_pytest_benchmark_is_needed(repository: Repository) -> None:
    result = repository.run("-p", "no:benchmark")
    assert result.status == pytest.ExitCode.USAGE_ERROR
    assert "benches need pytest-benchmark: leave out -p no:benchmark" in result.printed


def test_benches_are_known_below_another_root(stored: Repository) -> None:
    """As below a bare `pytest.ini` in a parent folder, and not by their path."""
    baselines = f"qmodels_baselines={stored.folder.name}/baselines"
    above = (f"--rootdir={stored.folder.parent}", "-o", baselines)
    assert "2 ok" in stored.run(*above, "-k", "size").printed
