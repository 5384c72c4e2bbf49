"""The meaning of each column of the tables."""

from qmodels.measure.metrics import METRICS
from qmodels.report import overview, speed


def explain_columns() -> str:
    """A line for each column, by table."""
    metrics = {
        metric.label: metric.meaning
        + (", 1 image" if "batch" in metric.depends_on else "")
        + ("" if metric.tolerances else "; not gated")
        for metric in METRICS.values()
        if metric.label
    }
    tables = {"Overview": overview.COLUMNS, "All metrics": metrics, "Latency": speed.COLUMNS}
    width = max(len(heading) for columns in tables.values() for heading in columns)
    sections = (
        "\n".join([name, *(f"  {heading:<{width}}  {text}" for heading, text in columns.items())])
        for name, columns in tables.items()
    )
    return "\n\n".join(sections)
