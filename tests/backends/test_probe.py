"""What a runtime answers, whole and broken."""

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qmodels import variants
from qmodels.backends import eager, inductor, probe
from qmodels.system.errors import Obstacle


@pytest.fixture
def broken_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package that is there and can't be imported, in ways that a test chooses."""
    package = tmp_path / "broken_runtime"
    package.mkdir()
    (package / "__init__.py").write_text(
        textwrap.dedent(
            """
            import os, signal
            how = os.environ["HOW"]
            if how == "import error":
                raise ImportError("libfoo.so.1: cannot open shared object file")
            if how == "illegal instruction":
                os.kill(os.getpid(), signal.SIGILL)
            """
        )
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "broken_runtime"


class Failing:
    """A function that fails at first."""

    def __init__(self, function: Callable[..., probe.BackendStatus]) -> None:
        self.function = function
        self.fails = True

    def __call__(self, *arguments: Any) -> probe.BackendStatus:
        if self.fails:
            raise probe.BackendBroken("no answer")
        return self.function(*arguments)


@pytest.mark.parametrize(
    ("how", "said"),
    [("import error", "libfoo.so.1: cannot open"), ("illegal instruction", "it died of SIGILL")],
)
def test_what_kills_a_runtime_is_told_and_kills_nothing_else(
    how: str, said: str, broken_module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOW", how)
    probe.probe_backend.cache_clear()
    verdict = probe.probe_backend(inductor.BACKEND, (broken_module,))
    assert said in str(verdict.broken)
    assert "\n" not in str(verdict.broken)


def test_a_runtime_that_was_mended_is_asked_again(
    broken_module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "probe_in_subprocess", failing := Failing(probe.probe_in_subprocess))
    probe.probe_backend.cache_clear()
    assert probe.probe_backend(inductor.BACKEND, (broken_module,)).broken == "no answer"
    failing.fails = False
    monkeypatch.setenv("HOW", "works")
    probe.probe_backend.cache_clear()
    assert probe.probe_backend(inductor.BACKEND, (broken_module,)).broken is None


def test_a_variant_of_a_broken_runtime_is_missing_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        probe,
        "probe_backend",
        lambda backend, modules: probe.BackendStatus("it died of SIGILL", None),
    )
    variant = variants.all_variants()["onnx-fp32"]
    monkeypatch.setattr("qmodels.variants.registry.find_spec", lambda module: object())
    assert variant.obstacle() == Obstacle(
        "onnxruntime is installed and does not work (it died of SIGILL): "
        "pip install --force-reinstall -e '.[onnx]' -c baselines/constraints.txt",
        fixable=True,
    )


def test_eager_has_nothing_to_saturate() -> None:
    assert probe.probe_backend(eager.BACKEND, ()) == probe.BackendStatus(None, None)
    assert eager.BACKEND.weight_range() == (-128, 127)
