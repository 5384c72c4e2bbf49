from pathlib import Path

import pytest

from qmodels import variants
from qmodels.gate import read_tolerances
from qmodels.system.errors import UserError

ROOT = Path(__file__).parents[2]
LEVELS = "[top1]\ntolerance = 0.1\nlevel = 0.01\n[top5_error]\nlevel = 0.01\n"


def test_a_variants_own_tolerance_comes_before_the_metrics(tmp_path: Path) -> None:
    (tmp_path / "tolerances.toml").write_text(
        LEVELS
        + "[latency_ratio]\ntolerance = 0.1\nother_host = 0.3\n"
        + "[latency_ratio.arithmetic.int8]\ntolerance = 0.15\nother_class = 0.5\n"
        + "[latency_ratio.variants.static-int8]\ntolerance = 0.2\n"
    )
    tolerances = read_tolerances(tmp_path, ["fp32", "static-int8"])
    assert tolerances.tolerance("latency_ratio", "fp32", "float32") == 0.1
    assert tolerances.tolerance("latency_ratio", "fx-int8", "int8") == 0.15
    assert tolerances.tolerance("latency_ratio", "static-int8", "int8") == 0.2
    assert tolerances.tolerance("latency_ratio", "static-int8", "int8", "another host") == 0.3
    assert tolerances.tolerance("latency_ratio", "static-int8", "int8", "another class") == 0.5
    assert tolerances.tolerance("latency_ratio", "fp32", "float32", "another class") is None
    assert tolerances.tolerance("top1", "fp32", "float32", "another host") == 0.1
    assert tolerances.tolerance("latency_ms", "fp32", "float32") is None
    assert tolerances.level("top1", "fp32", "float32") == 0.01


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[top1", "is no TOML"),
        (LEVELS + "[speed]\ntolerance = 1\n", "unknown metric 'speed'"),
        (LEVELS + "[size_bytes]\nslack = 1\n", "unknown key 'slack'"),
        (LEVELS + "[size_bytes]\ntolerance = -1\n", "tolerance -1"),
        (LEVELS + "[size_bytes]\ntolerance = nan\n", "tolerance nan"),
        (LEVELS + "[size_bytes]\ntolerance = true\n", "tolerance True"),
        (LEVELS + "[size_bytes.variants.int3]\ntolerance = 1\n", "names an unknown 'int3'"),
        (LEVELS + "[size_bytes.arithmetic.int3]\ntolerance = 1\n", "names an unknown 'int3'"),
        (LEVELS + "[size_bytes.arithmetic.int8]\nslack = 1\n", "unknown key 'slack'"),
        ("[top1]\ntolerance = 0.1\n", "top1 has no level"),
    ],
)
def test_nonsense_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "tolerances.toml").write_text(text)
    with pytest.raises(UserError, match="tolerances.toml") as caught:
        read_tolerances(tmp_path, ["fp32"])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't be read"):
        read_tolerances(tmp_path, [])


def test_the_shipped_ones_gate_every_variant() -> None:
    shipped = read_tolerances(ROOT / "baselines", variants.all_variants())
    for metric in ("top1", "top5_error", "size_bytes", "peak_bytes", "latency_change"):
        assert shipped.tolerance(metric, "static-int8", "int8") is not None
    for metric in ("top1", "sqnr_db", "int8_mac_fraction", "size_bytes", "operator_calls"):
        assert shipped.tolerance(metric, "static-int8", "int8", "another class") is not None
    assert shipped.tolerance("probe_ratio", "fp32", "float32") is not None
    assert shipped.tolerance("latency_ms", "fp32", "float32") is None


def test_machine_code_of_another_host_may_differ_by_pages() -> None:
    known = variants.all_variants()
    shipped = read_tolerances(ROOT / "baselines", known)
    compiled = [
        name
        for name, variant in known.items()
        if variant.backend.machine_code and not variant.on_gpu
    ]
    assert "pt2e-int8" in compiled
    for name in compiled:
        here = shipped.tolerance("size_bytes", name, known[name].arithmetic)
        elsewhere = shipped.tolerance("size_bytes", name, known[name].arithmetic, "another host")
        assert here == 0.001
        assert elsewhere == 0.01
