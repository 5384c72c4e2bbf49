from tests.cli.conftest import Qmodels


def test_json_begins_with_the_reference(qmodels: Qmodels) -> None:
    variants = qmodels("variants --json").json
    assert variants[0]["name"] == "fp32"
    assert set(variants[0]) == {"name", "engine", "summary", "extra", "missing"}


def test_the_table_names_variants(qmodels: Qmodels) -> None:
    assert "static-int8-jit" in qmodels("variants").out


def test_in_a_pipe_a_variant_is_a_line(qmodels: Qmodels) -> None:
    lines = qmodels("variants").out.splitlines()
    rows = [line for line in lines if line.startswith("│")]
    assert len(rows) == len(qmodels("variants --json").json)
