"""What a person sees of a page: its text by line, its tables by name, and what its charts show."""

import json
import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from typing import Any

# Elements that begin a line.
BLOCKS = {"h1", "h2", "h3", "h4", "p", "li", "dt", "dd", "tr", "figcaption", "summary", "pre"}
UNSEEN = {"script", "style", "head"}
SCALES = {"kB": 1e3, "MB": 1e6}
NUMBER = re.compile(r"(?<![\w.])[+-]?\d+(?:\.(?P<digits>\d+))?(?: (?P<scale>kB|MB)\b)?")


class Reader(HTMLParser):
    """Read a page.

    Attributes:
        lines: of text; cells of a row are separated by bars, and an image is its name in brackets.
            A table's name, which is read aloud, comes before its rows.
        tables: rows of cells, by the name of the table.
        links: all that the page refers to.
        charts: specifications by identifier.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.links: list[str] = []
        self.charts: dict[str, Any] = {}
        self.scripts: list[str] = []
        self._open: list[str] = []
        self._text: list[str] = []
        self._table = ""
        self._script = ""
        self.feed(html)
        self.close()
        self._end_line()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: str(value) for name, value in attrs}
        if tag not in ("meta", "link", "br", "img"):
            self._open.append(tag)
        self.links += [values[name] for name in ("href", "src") if name in values]
        if tag in BLOCKS:
            self._end_line()
        if values.get("role") == "region":
            self._table = values["aria-label"]
            self.lines.append(f"table {self._table}")
            self.tables[self._table] = []
        elif values.get("role") == "img":
            self._text.append(f" [{values['aria-label']}] ")
        if tag == "tr":
            self.tables[self._table].append([])
        elif tag in ("td", "th"):
            self.tables[self._table][-1].append("")
            if len(self.tables[self._table][-1]) > 1:
                self._text.append(" | ")
        elif tag == "script":
            self._script = values.get("id", "")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass
        if tag in BLOCKS:
            self._end_line()

    def handle_data(self, text: str) -> None:
        if "script" in self._open:
            self.scripts.append(text)
            if self._script == "charts":
                self.charts = json.loads(text)
        elif not UNSEEN.intersection(self._open):
            self._text.append(text)
            if {"td", "th"}.intersection(self._open):
                row = self.tables[self._table][-1]
                row[-1] = " ".join(f"{row[-1]} {text}".split())

    def _end_line(self) -> None:
        line = " ".join("".join(self._text).split())
        self._text = []
        if line:
            self.lines.append(line)

    def chart_lines(self) -> Iterator[str]:
        """The labels of each chart, and its data."""
        for name, spec in self.charts.items():
            yield f"chart {name}: {spec['description']}"
            yield from (f"  {label}" for label in dict.fromkeys(labels(spec)))
            yield from (f"  {mark}" for mark in marks(spec))
            yield from (f"  {row(values)}" for values in spec["data"]["values"])


def labels(spec: Any) -> Iterator[str]:
    """Titles and descriptions of a specification, and the names that its legends list."""
    if isinstance(spec, dict):
        for key, value in spec.items():
            if key in ("title", "description") and isinstance(value, str):
                yield f"{key}: {value.strip()}"
            elif key == "domain" and all(isinstance(name, str) for name in value):
                yield f"legend: {', '.join(value)}"
            elif key != "data":
                yield from labels(value)
    elif isinstance(spec, list):
        for part in spec:
            yield from labels(part)


def marks(spec: dict[str, Any]) -> Iterator[str]:
    """The marks of a specification, each with the fields that it shows, and of which points."""
    for part in spec.get("layer", [spec]):
        fields = {
            channel: shown["field"]
            if isinstance(shown, dict)
            else [each["field"] for each in shown]
            for channel, shown in sorted(part["encoding"].items())
            if not isinstance(shown, dict) or "field" in shown
        }
        of = "".join(f" where {step['filter']}" for step in part.get("transform", ()))
        rounded = re.sub(r"\d+\.\d+", lambda number: f"{float(number[0]):.4g}", of)
        yield f"{part['mark']['type']} of {fields}{rounded}"


def row(values: dict[str, Any]) -> str:
    """One point of a chart."""
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in values.items()
    )


def numbers(text: str) -> list[tuple[float, float]]:
    """The numbers in a text, without prefixes of units, each with half a unit of its last digit."""
    read = []
    for match in NUMBER.finditer(text):
        scale = SCALES.get(match["scale"] or "", 1.0)
        value = float(match[0].partition(" ")[0]) * scale
        read.append((value, 0.5 * scale * 10 ** -len(match["digits"] or "")))
    return read


def says(text: str, values: Sequence[float]) -> bool:
    """Whether a text has these numbers, rounded, and no others."""
    read = numbers(text)
    return len(read) == len(values) and all(
        abs(shown - value) <= 1.001 * half
        for (shown, half), value in zip(read, values, strict=True)
    )
