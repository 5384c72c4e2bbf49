import pytest

from tests.cli.conftest import Qmodels


def test_json_begins_with_the_reference(qmodels: Qmodels) -> None:
    variants = qmodels("variants --json").json
    assert variants[0]["name"] == "fp32"
    assert set(variants[0]) == {"name", "engine", "summary", "extra", "missing"}


def test_the_table_names_variants(qmodels: Qmodels) -> None:
    assert "static-int8-jit" in qmodels("variants").out


@pytest.mark.parametrize("color", [{}, {"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}], ids=str)
def test_in_a_pipe_a_variant_is_a_line(
    color: dict[str, str], qmodels: Qmodels, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in color.items():
        monkeypatch.setenv(name, value)
    lines = qmodels("variants").out.splitlines()
    rows = [line for line in lines if "│" in line]
    assert len(rows) == len(qmodels("variants --json").json)
