from pathlib import Path

import pytest

from qmodels import variants
from qmodels.gate import read_tolerances
from qmodels.gate.tolerances import Tolerances, check_names
from qmodels.measure.metrics import METRICS
from qmodels.system.errors import UserError

NONE = Path("no-such-folder")


def test_a_variants_own_tolerance_comes_before_the_metrics(tmp_path: Path) -> None:
    (tmp_path / "tolerances.toml").write_text(
        "[top1]\nlevel = 0.01\n"
        + "[latency_ratio]\ntolerance = 0.1\nother_host = 0.3\n"
        + "[latency_ratio.arithmetic.int8]\ntolerance = 0.15\nother_class = 0.5\n"
        + "[latency_ratio.variants.static-int8]\ntolerance = 0.2\n"
    )
    tolerances = read_tolerances(tmp_path, ["fp32", "static-int8"])
    assert tolerances.tolerance("latency_ratio", "fp32", "float32") == 0.1
    assert tolerances.tolerance("latency_ratio", "fx-int8", "int8") == 0.15
    assert tolerances.tolerance("latency_ratio", "static-int8", "int8") == 0.2
    assert tolerances.tolerance("latency_ratio", "fx-int8", "int8", "another host") == 0.3
    assert tolerances.tolerance("latency_ratio", "fx-int8", "int8", "another class") == 0.5
    assert tolerances.tolerance("latency_ratio", "fp32", "float32", "another class") is None
    assert tolerances.tolerance("top1", "fp32", "float32", "another host") == 0.1
    assert tolerances.tolerance("latency_ms", "fp32", "float32") is None
    assert tolerances.level("top1", "fp32", "float32") == 0.01


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[top1", "is no TOML"),
        ("[speed]\ntolerance = 1\n", "speed: it is no metric: choose from "),
        (
            "[size_bytes]\nslack = 1\n",
            "size_bytes: it has an unknown key 'slack': use tolerance",
        ),
        ("[size_bytes]\ntolerance = -1\n", "size_bytes: expected tolerance from 0 up, not -1"),
        ("[size_bytes]\ntolerance = nan\n", "size_bytes.tolerance: expected a number, not nan"),
        ("[size_bytes]\ntolerance = true\n", "size_bytes.tolerance: expected a number, not True"),
        (
            "[size_bytes.variants.int3]\ntolerance = 1\n",
            "size_bytes.variants.int3: it is no variant",
        ),
        (
            "[size_bytes.arithmetic.int3]\ntolerance = 1\n",
            "size_bytes.arithmetic.int3: expected float32 or float16 or bfloat16 or int8",
        ),
        ("[size_bytes.arithmetic.int8]\nslack = 1\n", "size_bytes.arithmetic.int8: it has an unkn"),
        ("top1 = 3", "top1: expected an object"),
    ],
)
def test_nonsense_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "tolerances.toml").write_text(text)
    with pytest.raises(UserError, match="tolerances.toml") as caught:
        read_tolerances(tmp_path, ["fp32"])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_numbers_of_a_repository_come_before_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "tolerances.toml").write_text("[latency_ratio.variants.bf16]\ntolerance = 0.5\n")
    own, defaults = read_tolerances(tmp_path), read_tolerances(NONE)
    given = ("latency_ratio", "bf16", "bfloat16")
    assert (own.tolerance(*given), defaults.tolerance(*given)) == (0.5, 0.15)
    for name in ("static-int8", "fp32"):  # the rest has the defaults
        assert own.tolerance("latency_ratio", name, "int8") == defaults.tolerance(
            "latency_ratio", name, "int8"
        )
    assert own.tolerance(*given, "another host") == defaults.tolerance(*given, "another host")


def test_the_defaults_gate_every_variant() -> None:
    defaults = read_tolerances(NONE)
    tables = {name: metric.tolerances for name, metric in METRICS.items()}
    check_names(Tolerances.decode(tables), set(variants.all_variants()))
    for metric in ("top1", "top5_error", "size_bytes", "peak_bytes", "latency_change"):
        assert defaults.tolerance(metric, "static-int8", "int8") is not None
    for metric in ("top1", "sqnr_db", "int8_mac_fraction", "size_bytes", "operator_calls"):
        assert defaults.tolerance(metric, "static-int8", "int8", "another class") is not None
    assert defaults.tolerance("probe_ratio", "fp32", "float32") is not None
    assert defaults.tolerance("latency_ms", "fp32", "float32") is None


def test_machine_code_of_another_host_may_differ_by_pages() -> None:
    known = variants.all_variants()
    defaults = read_tolerances(NONE)
    compiled = [
        name
        for name, variant in known.items()
        if variant.backend.machine_code and not variant.on_gpu
    ]
    assert "pt2e-int8" in compiled
    for name in compiled:
        here = defaults.tolerance("size_bytes", name, known[name].arithmetic)
        elsewhere = defaults.tolerance("size_bytes", name, known[name].arithmetic, "another host")
        assert here == 0.001
        assert elsewhere == 0.01
