import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

from qmodels import gate
from qmodels.cli import main
from qmodels.gate import Failure, Run
from qmodels.measure import metrics
from qmodels.report import page
from qmodels.report.page import charts, flips, trade_off
from qmodels.system.errors import Unavailable, UserError
from tests.report.page.reader import Reader
from tests.report.page.records import HOSTILE, LOST, WON, run

ROOT = Path(__file__).parents[3]
STORED = ROOT / "baselines" / "linux-x86_64-avx512_bf16" / "cifar100-resnet34-w64.json"


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a run."""
    return write(tmp_path_factory.mktemp("page"), run())


def write(tmp_path: Path, *runs: Run) -> str:
    path = tmp_path / "page.html"
    page.write_page(path, runs, (), {}, about=["made here"], max_drop=0.5)
    return path.read_text()


def test_a_page_is_one_small_file_that_loads_nothing(tmp_path: Path) -> None:
    html = write(tmp_path, gate.read_run(STORED))
    assert len(html) < page.LIMIT_BYTES
    assert all(link.startswith(("#", "data:")) for link in Reader(html).links)
    assert "default-src 'none'" in html
    assert "@import" not in html


def test_what_a_record_says_is_text(tmp_path: Path) -> None:
    html = write(tmp_path, run(hostile=True))
    parsed = Reader(html)
    assert any(HOSTILE in text for text in parsed.lines)
    assert not any("alert(1)" in script and "<script>" in script for script in parsed.scripts)
    assert not [link for link in parsed.links if "evil" in link]
    assert "<script>alert" not in html


def test_the_recommendation_comes_first(html: str) -> None:
    text = "\n".join(Reader(html).lines)
    sections = ["recommended: onnx-int8", "Accuracy against latency", "Every variant"]
    places = [text.index(section) for section in sections]
    assert places == sorted(places)


def test_a_metric_says_what_it_is_where_one_points_at_it(html: str) -> None:
    assert f'<td title="{metrics.SIZE.meaning}">{metrics.SIZE.name}</td>' in html


def test_the_lines_that_load_a_variant_work(digits_network: object) -> None:
    [code] = {v.code for v in page.describe([run()], (), {}, about=(), max_drop=0.5).variants[-1:]}
    assert len(code.splitlines()) == 4
    unknown = page.describe([run(source={})], (), {}, about=(), max_drop=0.5)
    assert {variant.code for variant in unknown.variants} == {""}
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["forward"](torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_points_are_ratios_with_intervals_and_the_study_among_them() -> None:
    points = {point.variant: point for point in trade_off.points(run(), "latency")}
    here, study = points["static-int8-jit"], points["Static Int8 (JIT) (study)"]
    assert (here.x, here.x_low, here.x_high) == pytest.approx((0.25, 0.245, 0.255))
    assert (here.y, here.y_low, here.y_high) == pytest.approx((-0.1, -0.3, 0.1))
    assert study.x == pytest.approx(20.55 / 53.55)
    assert study.y == pytest.approx(-0.06)
    assert points["fp32"].y_low == points["fp32"].y_high == 0
    assert [name for name, point in points.items() if point.front] == ["fp32", "onnx-int8"]
    assert trade_off.points(Run.from_entries(()), "latency") == []


def test_the_readmes_picture_is_that_of_the_stored_run(tmp_path: Path) -> None:
    path = tmp_path / "results.svg"
    page.draw(gate.read_run(STORED), path)
    words = [
        ElementTree.parse(file).getroot().iter("{http://www.w3.org/2000/svg}text")
        for file in (path, ROOT / "docs" / "results.svg")
    ]
    here, committed = ([word.text for word in of_file] for of_file in words)
    assert len(here) > 22
    assert here == committed, (
        f"draw it again: qmodels report {STORED.relative_to(ROOT)} --svg docs/results.svg"
    )


@pytest.mark.parametrize("arithmetic", ["float16", "something else"])
def test_any_arithmetic_has_a_color(arithmetic: str, tmp_path: Path) -> None:
    page.draw(run(arithmetic=arithmetic), tmp_path / "results.svg")
    assert f">{arithmetic}<" in (tmp_path / "results.svg").read_text()


def test_a_run_without_latency_has_no_picture(tmp_path: Path) -> None:
    sizes = [entry for entry in run().entries.values() if "size_bytes" in entry.metrics]
    with pytest.raises(UserError, match="no accuracy and latency of fp32"):
        page.draw(Run.from_entries(sizes), tmp_path / "results.svg")
    assert not list(tmp_path.iterdir())


def test_head_and_base_share_the_bins_of_a_distribution() -> None:
    seconds = {"head": [0.001] * 30 + [0.002], "base": [0.003] * 50}
    values = charts.distribution(seconds)["data"]["values"]
    for side in seconds:
        assert sum(value["share"] for value in values if value["side"] == side) == pytest.approx(
            100
        )
    edges = [{value["from"] for value in values if value["side"] == side} for side in seconds]
    assert edges[0] == edges[1]


def test_flipped_images_are_those_of_the_ranks() -> None:
    flipped, picture = flips.flipped_images(run())
    of_jit = flipped["static-int8-jit"]
    assert (of_jit.lost, of_jit.won) == (LOST, WON)
    assert sum(flips.lost_count for flips in of_jit.classes) == LOST
    places = {place for part in flipped.values() for flips in part.classes for place in flips.lost}
    assert max(places) < LOST + WON
    assert picture.startswith("data:image/webp;base64,")


def test_images_that_are_not_packaged_are_not_shown() -> None:
    other = run()
    for entry in other.entries.values():
        if entry.by_image:
            object.__setattr__(entry.by_image, "images", "of a user")
    assert flips.flipped_images(other) == ({}, "")


def test_ranks_of_another_length_are_not_shown() -> None:
    short = run()
    for entry in short.entries.values():
        if entry.by_image and entry.variant == "onnx-int8":
            object.__setattr__(entry.by_image, "values", entry.by_image.values[:10])
    flipped, _ = flips.flipped_images(short)
    assert set(flipped) == {"static-int8-jit"}


def test_a_page_that_is_too_large_has_no_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "image/webp" in write(tmp_path, run())
    monkeypatch.setattr(page, "LIMIT_BYTES", 1000)
    html = write(tmp_path, run())
    assert "image/webp" not in html
    assert 'class="tile"' not in html
    assert "<small>1</small>" in html, "their number is shown"


def test_machines_stand_side_by_side(tmp_path: Path) -> None:
    text = " ".join(Reader(write(tmp_path, run(), run(machine_class="linux-arm64"))).lines)
    assert "The best choice is the same:" in text
    assert "onnx-int8 on linux-arm64" in text
    entries = run(machine_class="linux-arm64", hostile=True).entries
    small = Run.from_entries(e for e in entries.values() if e.key.bench == "bench_accuracy")
    described = page.describe([run(), small], (), {}, about=(), max_drop=0.5)
    assert [machine.best for machine in described.machines] == ["onnx-int8", None]
    assert HOSTILE in described.names, "the first run has not measured it"
    with pytest.raises(UserError, match="two runs are of linux-x86_64-avx2: name one of each"):
        write(tmp_path, run(), run())
    with pytest.raises(UserError, match="the runs are of digits-resnet34-w8, other: give"):
        write(tmp_path, run(), run(network="other"))


def test_a_run_of_failures_alone_has_a_page(tmp_path: Path) -> None:
    failed = Run(None, {}, failures=(Failure("bench_size[static]", "it broke", "static"),))
    text = " ".join(Reader(write(tmp_path, failed)).lines)
    assert "a run that measured nothing" in text
    assert "bench_size[static] failed: it broke" in text


@pytest.mark.parametrize("package", ["altair", "jinja2", "vl_convert"])
@pytest.mark.parametrize("option", ["--html", "--svg"])
def test_without_its_packages_the_extra_is_named(
    option: str,
    package: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "qmodels.report.page")
    monkeypatch.delattr("qmodels.report.page")
    with pytest.raises(SystemExit) as ended:
        main(["report", str(STORED), option, str(tmp_path / "file")])
    assert ended.value.code == Unavailable.status
    assert re.search(rf"{package} is not installed.*\[report\]", capsys.readouterr().err)
    assert not list(tmp_path.iterdir())
