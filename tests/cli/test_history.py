from pathlib import Path

import pytest

from qmodels.cli import runs
from tests.cli.conftest import Qmodels
from tests.gate import repositories
from tests.gate.records import CLASS, NETWORK


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The network and the class of the only stored run."""
    repositories.make(tmp_path / "repository")
    monkeypatch.setattr(runs, "baselines", lambda: tmp_path / "repository")
    return f"{NETWORK} --machine-class {CLASS}"


def test_a_metric_is_shown_over_commits(qmodels: Qmodels, arguments: str) -> None:
    shown = qmodels(f"history size_bytes {arguments}").out
    assert shown.startswith(f"{NETWORK} on {CLASS}\n")
    assert "Third\n  large: 2.0 kB to 2.6 kB, worse" in shown
    assert "No run" not in shown


def test_variants_are_chosen_and_listed(qmodels: Qmodels, arguments: str) -> None:
    shown = qmodels(f"history size_bytes {arguments} --variant small").out
    assert "Second" in shown
    assert "large" not in shown
    (series,) = qmodels(f"history size_bytes {arguments} --variant small --json").json
    values = [value["metric"]["value"] for value in series["values"]]
    assert (series["variant"], values) == ("small", [1000, 960, 920, 920])


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ("history tpo1", "unknown metric 'tpo1': choose from size_bytes, "),
        ("history size_bytes {} --variant x", "no stored run has variant 'x': choose from "),
        ("history size_bytes {} --variant ,", "--variant names none: choose from "),
        ("history size_bytes nothing", "no run of nothing is stored for "),
        (
            f"history size_bytes {NETWORK} --machine-class linux-nothing",
            f"no run of {NETWORK} is stored for linux-nothing: choose from {CLASS}",
        ),
        ("history top1 {}", "no commit of digits-resnet34-w8.json stored top1: "),
    ],
)
def test_what_is_unknown_is_one_line(
    qmodels: Qmodels, arguments: str, options: str, error: str
) -> None:
    refused = qmodels(options.format(arguments))
    assert refused.status == 2
    assert refused.err.startswith(f"qmodels: {error}")
    assert refused.err.count("\n") == 1
