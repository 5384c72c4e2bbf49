import pytest
import torch

from qmodels.backends import torch_ao
from tests import eager
from tests.cli.conftest import Qmodels


def test_json_begins_with_the_reference(qmodels: Qmodels) -> None:
    variants = qmodels("variants --json").json
    assert variants[0]["name"] == "fp32"
    assert set(variants[0]) == {"name", "engine", "summary", "extra", "missing", "deprecated"}


def test_the_table_names_variants(qmodels: Qmodels) -> None:
    assert "static-int8-jit" in qmodels("variants").out


def test_what_torch_will_remove_is_marked(qmodels: Qmodels) -> None:
    """In torch 2.15: the variants of eager quantization, its FX front end, and TorchScript."""
    marked = {each["name"] for each in qmodels("variants --json").json if each["deprecated"]}
    if torch_ao.deprecation() is None:
        assert not marked
        return
    assert marked == eager.VARIANTS
    line = f"deprecated in torch {'.'.join(torch.__version__.split('.')[:2])}, to be removed"
    rows = qmodels("variants").out.splitlines()
    assert {name for row in rows if line in row for name in marked if f" {name} " in row} == marked
    (fact,) = (row for row in qmodels("doctor").out.splitlines() if row.startswith("deprecated"))
    names, _, announced = fact.removeprefix("deprecated").partition(": ")
    assert announced == line
    assert set(names.strip().split(", ")) == marked


@pytest.mark.parametrize("color", [{}, {"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}], ids=str)
def test_in_a_pipe_a_variant_is_a_line(
    color: dict[str, str], qmodels: Qmodels, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in color.items():
        monkeypatch.setenv(name, value)
    lines = qmodels("variants").out.splitlines()
    rows = [line for line in lines if "│" in line]
    assert len(rows) == len(qmodels("variants --json").json)
