import pytest

from qmodels.base import serving
from tests.cli.conftest import Qmodels


def test_a_connection_is_served(qmodels: Qmodels, monkeypatch: pytest.MonkeyPatch) -> None:
    # tests/base has a connection.
    monkeypatch.setattr(serving, "main", lambda: print("served"))
    assert qmodels("serve").out == "served\n"
