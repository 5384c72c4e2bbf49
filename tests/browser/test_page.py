"""The page of a run in a headless Chromium. Twenty seconds; `tox run -e page`."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from qmodels import cli, gate
from tests.report.page.reader import NUMBER, says
from tests.report.page.records import HOSTILE, record

playwright = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SIZES = {"screen": {"width": 1280, "height": 900}, "telephone": {"width": 360, "height": 780}}
# Of each variant, the cells of its table of metrics, as they are seen.
METRICS = """
[...document.querySelectorAll("details:has(.metrics)")].map((details) => [
  details.querySelector("h3").innerText,
  [...details.querySelectorAll(".metrics tbody tr")].map((row) =>
    [...row.cells].map((cell) => cell.innerText)),
])
"""
CELLS = """
[...document.querySelectorAll("td")].map((cell) =>
  [cell.innerText, getComputedStyle(cell).textAlign])
"""
POINT = "#trade-off-latency .mark-symbol path[aria-label{}]"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.fail(f"none of {', '.join(BROWSERS)} is installed: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        # Containers run as root, which Chromium's sandbox refuses.
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a stored run."""
    path = tmp_path_factory.mktemp("stored") / "page.html"
    cli.main(["report", "cifar100-resnet34-w16", "--html", str(path)])
    return path


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two machine classes, one of whose variants has a hostile name."""
    folder = tmp_path_factory.mktemp("page")
    runs = [folder / "run.json", folder / "other.json"]
    runs[0].write_text(json.dumps(record(hostile=True)))
    runs[1].write_text(json.dumps(record(machine_class="linux-arm64")))
    path = folder / "page.html"
    cli.main(["report", *map(str, runs), "--html", str(path)])
    return path


@pytest.fixture(params=SIZES)
def size(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def page(browser: Any, written: Path, size: str, scheme: str) -> Iterator[Any]:
    """The page, opened; it fails the test if it asks for anything or reports an error."""
    with opened_page(browser, written, viewport=SIZES[size], color_scheme=scheme) as opened:
        yield opened


@contextmanager
def opened_page(browser: Any, written: Path, **options: Any) -> Iterator[Any]:
    """A page; at the end, what it asked for and reported is checked."""
    context = browser.new_context(**options)
    opened = context.new_page()
    heard: list[str] = []
    opened.on("console", lambda message: heard.append(message.text))
    opened.on("pageerror", lambda error: heard.append(str(error)))
    opened.on("dialog", lambda dialog: heard.append(dialog.message))
    opened.on("request", lambda request: heard.append(request.url))
    opened.goto(written.as_uri())
    opened.wait_for_selector("#trade-off-size svg", timeout=10_000)
    yield opened
    context.close()
    assert [line for line in heard if not line.startswith("data:")] == [written.as_uri()]


def open_all(page: Any) -> None:
    """Open all details, and wait for their charts."""
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    page.wait_for_function(
        "[...document.querySelectorAll('.chart')].every((chart) => chart.querySelector('svg'))"
    )


def test_it_fits_the_screen_and_draws_every_chart(page: Any, size: str) -> None:
    open_all(page)
    assert page.locator(".chart svg").count() == page.locator(".chart").count() == 2 + 2 * 4
    width = SIZES[size]["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ends = page.eval_on_selector_all(
        ".chart svg text", "all => all.map((text) => text.getBoundingClientRect().right)"
    )
    assert max(ends) <= width


def test_the_page_of_a_stored_run_reports_nothing(browser: Any, stored: Path) -> None:
    with opened_page(browser, stored) as page:
        open_all(page)


def test_contrast_names_and_roles_are_accessible(page: Any) -> None:
    open_all(page)
    violations = axe.Axe().run(page).response["violations"]
    assert not violations, json.dumps(violations, indent=1)[:3000]


@pytest.mark.parametrize(("size", "scheme"), [("screen", "light")], indirect=True)
class TestOnAScreen:
    """What does not depend on the size or the colours."""

    def test_numbers_are_those_of_the_record(self, page: Any) -> None:
        open_all(page)
        shown = dict(page.evaluate(METRICS))
        recorded: dict[str, list[tuple[str, float]]] = {}
        for benchmark in record(hostile=True)["benchmarks"]:
            about = benchmark["extra_info"]
            metrics = [(name, metric["value"]) for name, metric in about["metrics"].items()]
            recorded.setdefault(about["variant"], []).extend(metrics)
        assert set(shown) == set(recorded)
        for variant, rows in shown.items():
            assert len(rows) == len(recorded[variant])
            for (_, metric, value, *_), (name, number) in zip(rows, recorded[variant], strict=True):
                assert metric == name
                assert says(value, [number])

    def test_numbers_stand_below_one_another(self, page: Any) -> None:
        open_all(page)
        cells = page.evaluate(CELLS)
        assert len(cells) > 150
        numbers = [
            (text, side)
            for text, side in cells
            if NUMBER.match(text) and not text.endswith(gate.VERDICTS)
        ]
        assert [text for text, side in numbers if side != "right"] == []
        assert {side for text, side in cells if text in ("accuracy", "top1")} == {"left"}

    def test_hovering_names_a_variant_and_a_click_shows_it(self, page: Any) -> None:
        point = page.locator(POINT.format("='static-int8-jit'"))
        point.hover()
        tooltip = page.locator("#vg-tooltip-element.visible")
        assert "static-int8-jit" in tooltip.inner_text()
        point.click()
        details = page.locator("details", has=page.locator("h3", has_text="static-int8-jit"))
        assert details.get_attribute("open") is not None
        assert page.evaluate("document.activeElement.innerText") == "static-int8-jit"

    def test_the_keyboard_leads_to_the_details(self, page: Any) -> None:
        reached = []
        for _ in range(30):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.innerText"))
            if reached[-1] == "onnx-int8":
                break
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.tagName") == "SUMMARY", reached
        assert page.locator("details[open] h3").first.inner_text() == "onnx-int8"

    def test_an_address_leads_to_the_details(self, page: Any) -> None:
        page.evaluate("location.hash = 'v1'")
        page.wait_for_function("document.getElementById('v1').open")
        page.evaluate("location.hash = 'gate'")
        page.go_back()
        assert page.evaluate("location.hash") == "#v1"

    def test_a_tooltip_has_contrast(self, page: Any) -> None:
        page.locator(POINT.format("='fp32'")).hover()
        violations = axe.Axe().run(page, "#vg-tooltip-element").response["violations"]
        assert not [rule for rule in violations if rule["id"] == "color-contrast"], violations

    def test_a_hostile_name_is_text(self, page: Any) -> None:
        open_all(page)
        link = page.locator("#trade-offs a", has_text="<script>alert(1)</script>")
        assert link.inner_text() == HOSTILE
        point = page.locator(POINT.format("^='<script>'"))
        point.hover()
        assert HOSTILE in page.locator("#vg-tooltip-element.visible").inner_text()
        assert page.locator("a[href*='evil']").count() == 0

    def test_on_paper_tables_are_whole(self, page: Any) -> None:
        page.emulate_media(media="print")
        styles = page.eval_on_selector_all(
            ".scroll", "all => all.map((one) => getComputedStyle(one).overflowX)"
        )
        assert set(styles) == {"visible"}
        assert page.pdf().startswith(b"%PDF")
