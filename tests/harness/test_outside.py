"""A backend and a variant of another package, in one file, are measured and gated."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.planting import UPDATE, Run, assert_red, kept
from tests.outside import RUNTIME, install


@pytest.fixture
def package(repository: Path) -> Iterator[Path]:
    """The file of an installed package."""
    info = install(repository, "runtime", RUNTIME, backend="halves")
    yield repository / "runtime.py"
    (repository / "runtime.py").unlink()
    for path in info.iterdir():
        path.unlink()
    info.rmdir()


def test_it_is_measured_by_every_bench_and_gated(run: Run, baseline: Path, package: Path) -> None:
    given = ("benches", "--qmodels-variants=fp32,half-weights", "-k", "not b8")
    with kept(baseline):
        stored = run(*given, UPDATE)
        assert stored.returncode == 0, stored.stdout
        for bench in ("accuracy", "kernels", "latency", "memory", "size"):
            assert f'"bench_{bench}[half-weights' in baseline.read_text()
        package.write_text(RUNTIME.replace("v.bfloat16()", "v"))
        fatter = run("benches/bench_size.py", *given[1:], CI="true")
    assert_red(fatter, "bench_size[half-weights] regressed: size_bytes")
