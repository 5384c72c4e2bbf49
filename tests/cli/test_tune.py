import pytest

from tests.cli.conftest import Qmodels


@pytest.mark.usefixtures("empty_cache")
def test_effects_are_a_table_or_json(qmodels: Qmodels) -> None:
    tune = "tune --dataset digits --width 4 --epochs 1 --seeds 1 --ingredients averaging"
    assert "| averaging " in qmodels(tune).out
    (effect,) = qmodels(f"{tune} --json").json
    assert effect["ingredient"] == "averaging"
