import json
import re
from pathlib import Path

import pytest

from tests import small
from tests.cli.conftest import Qmodels, cells
from tests.eager import needs_eager_quantization

OPTIONS = "--network tests.small:network --images 4"


@needs_eager_quantization
def test_time_and_noise_are_a_table_or_json(qmodels: Qmodels, tmp_path: Path) -> None:
    trace = tmp_path / "trace.json"
    table = qmodels(f"layers static-int8-jit {OPTIONS} --batch-size 16 --trace {trace}").out
    heading, _rule, *rows = table.splitlines()
    assert cells(heading) == [
        *("Layer", "ms", "%", "Quantization (dB)", "Runtime (dB)", "Kernel"),
    ]
    *parts, whole = (cells(row) for row in rows if row.startswith("|"))
    layers, others = parts[: small.LAYERS], parts[small.LAYERS :]
    assert {row[0] for row in others} == {"not a layer"}
    assert any(row[5] == "aten::quantize_per_tensor, 1 call" for row in others)
    assert others[-1][5] == "between what the profiler saw"
    assert layers[0][0] == "stem.conv"
    assert layers[0][5] == "quantized::conv2d_relu"
    assert all(float(layer[1]) > 0 and float(layer[3]) > 0 for layer in layers)
    assert whole[0] == "sum"
    for column, digits in ((1, 3), (2, 1)):
        total = sum(float(row[column]) for row in parts)
        assert total == pytest.approx(float(whole[column]), abs=len(parts) * 10**-digits / 2)
    assert float(whole[2]) == 100
    (forward,) = (row for row in rows if row.startswith("a forward: "))
    alone, profiled, percent = map(float, re.findall(r"[+-]?\d+\.\d+", forward))
    assert profiled == float(whole[1])
    rounding = 100 * 0.001 / alone  # of two times with three digits
    assert percent == pytest.approx(100 * (profiled / alone - 1), abs=0.1 + rounding)
    assert forward.endswith("; 16 images, 1 thread")

    events = json.loads(trace.read_text())["traceEvents"]
    slices = [event for event in events if event["ph"] == "X"]
    forwards = [event for event in slices if event["cat"] == "forward"]
    stems = [event for event in slices if event["name"] == "stem.conv"]
    assert len(forwards) == len(stems) >= 10
    assert all(
        forward["ts"] <= stem["ts"] and stem["ts"] + stem["dur"] <= forward["ts"] + forward["dur"]
        for forward, stem in zip(forwards, stems, strict=True)
    )

    answer = qmodels(f"layers static-int8-jit {OPTIONS} --json").json
    assert len(answer["layers"]) == small.LAYERS
    assert set(answer["layers"][0]) == {
        *("layer", "seconds", "operation", "quantization_db", "runtime_db"),
    }
    shown = sum(part["seconds"] for part in (*answer["layers"], *answer["others"]))
    assert shown + answer["between_seconds"] == pytest.approx(answer["profiled_seconds"])
    assert {other["operation"]: other["calls"] for other in answer["others"]}[
        "quantized::add_relu"
    ] == len(small.BLOCKS)
    assert answer["forward_seconds"] > 0


def test_a_float_variant_has_times_alone(qmodels: Qmodels) -> None:
    answer = qmodels(f"layers fp32 {OPTIONS} --json").json
    assert len(answer["layers"]) == small.LAYERS
    assert {layer["quantization_db"] for layer in answer["layers"]} == {None}


def test_what_can_not_be_is_refused_before_the_work(qmodels: Qmodels, tmp_path: Path) -> None:
    many = qmodels("layers fp32 --dataset digits --threads 100000")
    assert many.status == 2
    assert many.err.startswith("qmodels: --threads 100000: this process may use ")
    folder = qmodels(f"layers fp32 --dataset digits --trace {tmp_path}")
    assert folder.err == f"qmodels: --trace {tmp_path} is a folder: name a file in it\n"


@pytest.mark.parametrize("option", ["--threads", "--batch-size"])
def test_there_is_at_least_one_of_each(qmodels: Qmodels, option: str) -> None:
    refused = qmodels(f"layers fp32 --dataset digits {option} 0")
    assert refused.status == 2
    assert refused.err == f"qmodels: {option} 0: choose 1 or more\n"
