"""The picture of a run. Two seconds."""

import re
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from qmodels.gate import Run, read_baseline
from qmodels.report import picture
from qmodels.system.errors import Unavailable, UserError

ROOT = Path(__file__).parents[2]
STORED = ROOT / "baselines" / "linux-x86_64-avx512_bf16" / "cifar100-resnet34-w64.json"


def stored_run() -> Run:
    baseline = read_baseline(STORED)
    assert baseline is not None
    return Run.from_entries(list(baseline.entries.values()))


def test_circles_are_what_the_run_measured() -> None:
    run = stored_run()
    circles = {circle.name: circle for circle in picture.circles(run)}
    assert list(circles)[-1] == "fp32", "fastest first"
    entry = {
        name: metric
        for e in run.entries.values()
        if e.variant == "onnx-int8"
        for name, metric in e.metrics.items()
    }
    circle = circles["onnx-int8"]
    assert circle.change == -entry["top1_drop"].value
    assert circle.low < circle.change < circle.high
    assert circle.megabytes == entry["size_bytes"].value / 1e6


def labels(path: Path) -> list[str]:
    """The words of a picture, which matplotlib keeps in comments beside their outlines."""
    return re.findall(r"<!-- (.*, \d+ MB) -->", path.read_text())


def test_the_readmes_picture_is_that_of_the_stored_run(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "results.svg"
    picture.draw(stored_run(), path)
    assert ElementTree.parse(path).getroot().tag.endswith("svg")
    assert len(labels(path)) == 18
    assert labels(path) == labels(ROOT / "docs" / "results.svg"), (
        "draw it again: qmodels report baselines/linux-x86_64-avx512_bf16/"
        "cifar100-resnet34-w64.json --svg docs/results.svg"
    )


@pytest.mark.parametrize("arithmetic", ["float16", "something else"])
def test_any_arithmetic_has_a_color(arithmetic: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    entries = [replace(entry, arithmetic=arithmetic) for entry in stored_run().entries.values()]
    picture.draw(Run.from_entries(entries), tmp_path / "results.svg")
    assert f"<!-- {arithmetic} -->" in (tmp_path / "results.svg").read_text()


def test_a_run_without_latency_has_no_picture(tmp_path: Path) -> None:
    run = stored_run()
    sizes = [entry for entry in run.entries.values() if "size_bytes" in entry.metrics]
    with pytest.raises(UserError, match="no variant with latency, accuracy and size"):
        picture.draw(Run.from_entries(sizes), tmp_path / "results.svg")


def test_without_matplotlib_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(Unavailable, match=r"pip install .*\[report\]'"):
        picture.draw(stored_run(), tmp_path / "results.svg")
