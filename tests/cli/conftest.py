"""The command line in this process, and run records for it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from qmodels import cli
from qmodels.measure.metrics import METRICS
from qmodels.system import codec, machine


@dataclass(frozen=True)
class Result:
    """What a command left: its exit status, its output, its errors."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


# Of `test_damage`.
settings.register_profile("nightly", max_examples=5000)

Qmodels = Callable[[str], Result]
WriteRun = Callable[..., Path]


def cells(line: str) -> list[str]:
    """The cells of a row of a Markdown table."""
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.fixture
def qmodels(capsys: pytest.CaptureFixture[str]) -> Qmodels:
    """Run the command line; words are split at spaces."""

    def run(line: str) -> Result:
        status: Any = 0
        try:
            cli.main(line.split())
        except SystemExit as error:
            status = error.code
        captured = capsys.readouterr()
        return Result(status, captured.out, captured.err)

    return run


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QMODELS_CACHE_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def write_run(tmp_path: Path) -> WriteRun:
    """Write a run record of fp32, as the harness does, with metrics by name."""

    def write(name: str, **values: float) -> Path:
        versions = {"torch": "2.15.0"}
        extra_info = {
            "network": "digits-resnet34-w8",
            "bench": "bench_size",
            "variant": "fp32",
            "batch_size": 1,
            "machine_class": machine.machine_class(),
            "engine": "eager",
            "threads": 1,
            "weights": "weights",
            "arithmetic": "float32",
            "source": {"function": "birds:network"},
            "provenance": {"date": "", "commit": "", "host": "h", "versions": versions},
            "metrics": {
                metric: codec.encode(METRICS[metric].of(value)) for metric, value in values.items()
            },
        }
        benchmark = {
            "fullname": "benches/bench_size.py::bench_size[fp32]",
            "name": "bench_size[fp32]",
            "group": "size",
            "param": "fp32",
            "params": {"variant": "fp32"},
            "extra_info": extra_info,
            "stats": {},
        }
        run = {"machine_info": {"machine_class": "any"}, "benchmarks": [benchmark]}
        path = tmp_path / name
        path.write_text(json.dumps(run))
        return path

    return write
