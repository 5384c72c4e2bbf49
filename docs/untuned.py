"""Variants by network, of networks that nobody tuned quantization for: `examples/untuned`.

``python -m docs.untuned`` prints a table for each metric from the stored runs there, and why
variants were skipped. In that folder, ``pytest --pyargs qmodels.benches -k "not memory and not b8"
--qmodels-update-baseline`` makes the runs.
"""

from dataclasses import dataclass
from pathlib import Path

from qmodels.gate import Run, read_run
from qmodels.measure.metric import Definition
from qmodels.measure.metrics import INT8_MACS, LATENCY_RATIO, SIZE, SQNR
from qmodels.report.table import markdown, metric
from qmodels.variants import all_variants

FOLDER = Path(__file__).parents[1] / "examples" / "untuned" / "baselines" / "linux-x86_64-avx2"


@dataclass(frozen=True)
class Table:
    """A metric, variants by network.

    Attributes:
        heading: of the first column.
        shown: the format of a value.
        relative: whether a value is a multiple of fp32's.
    """

    heading: str
    metric: Definition
    shown: str
    relative: bool = False

    def text(self, stored: dict[str, Run]) -> str:
        """The table in Markdown, with a row for each variant that any network has a value of."""
        rows = [
            [name, *(self.cell(run, name) for run in stored.values())] for name in all_variants()
        ]
        return markdown([self.heading, *stored], [row for row in rows if set(row[1:]) != {"-"}])

    def cell(self, run: Run, variant: str) -> str:
        """A value."""
        measured = metric(run, variant, self.metric)
        if measured is None:
            return "-"
        reference = metric(run, "fp32", self.metric) if self.relative else None
        return self.shown.format(measured.value / (reference.value if reference else 1))


TABLES = (
    Table("SQNR (dB)", SQNR, "{:.1f}"),
    Table("Int8 MACs", INT8_MACS, "{:.0%}"),
    Table("Size (x fp32)", SIZE, "{:.2f}", relative=True),
    Table("Time of 1 image (x fp32)", LATENCY_RATIO, "{:.2f}"),
)


def runs() -> dict[str, Run]:
    """The stored runs by the name of the network; files beside them have a dot in their stem."""
    paths = sorted(path for path in FOLDER.glob("*.json") if "." not in path.stem)
    return {path.stem: read_run(path) for path in paths}


def reasons(stored: dict[str, Run]) -> list[str]:
    """Why variants were skipped, a line for each reason, with the networks if it is not all."""
    networks: dict[str, list[str]] = {}
    for name, run in stored.items():
        for reason, variants in run.skipped.items():
            line = f"{', '.join(variants)}: {reason}".replace(name, "the network")
            networks.setdefault(line, []).append(name)
    return [
        line if len(names) == len(stored) else f"{line} ({', '.join(names)})"
        for line, names in networks.items()
    ]


def main() -> None:
    """Print the tables, and the reasons."""
    stored = runs()
    for table in TABLES:
        print(table.text(stored), end="\n\n")
    for line in reasons(stored):
        print(line)


if __name__ == "__main__":
    main()
