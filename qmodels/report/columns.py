"""What each column of the tables means."""

from collections.abc import Mapping

from qmodels.report import overview, speed, table

TABLES: Mapping[str, Mapping[str, str]] = {
    "Overview": overview.COLUMNS,
    "All metrics": {column.heading: column.meaning for column in table.COLUMNS},
    "Latency": speed.COLUMNS,
}


def explain_columns() -> str:
    """A line for each column, by table."""
    width = max(len(heading) for columns in TABLES.values() for heading in columns)
    sections = (
        "\n".join([name, *(f"  {heading:<{width}}  {text}" for heading, text in columns.items())])
        for name, columns in TABLES.items()
    )
    return "\n\n".join(sections)
