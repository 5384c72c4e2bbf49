import json
from pathlib import Path

import numpy as np
import pytest

from qmodels import gate
from qmodels.gate.ranks import Ranks
from qmodels.gate.run import ranks_path
from qmodels.measure.operators import Row
from qmodels.system.errors import UserError
from tests.gate.records import (
    CLASS,
    FP32,
    benchmark,
    record,
    run,
    stored,
)


@pytest.mark.parametrize("other", [3, 5])
def test_another_format_is_refused_in_one_line(other: int, tmp_path: Path) -> None:
    gate.accept(tmp_path, run(benchmark(FP32)))
    path = stored(tmp_path)
    path.write_text(path.read_text().replace('"format": 4', f'"format": {other}'))
    with pytest.raises(UserError, match=f"has format {other}, and this qmodels reads 4: use"):
        gate.read_baseline(path)


WHOLE = json.dumps(record(benchmark(FP32)))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"benchmarks": [{"fullname": "a", "extra_info": {}}]}',
        '{"benchmarks": 3}',
        WHOLE.replace('"lower"', '"sideways"'),
        WHOLE.replace('"value": 1.0', '"value": "much"'),
        WHOLE.replace('"value": 1.0', '"value": NaN'),
        WHOLE.replace('"value": 1.0', '"value": -Infinity'),
        WHOLE.replace('"batch_size": 1', '"batch_size": "one"'),
        WHOLE.replace('"machine_info"', '"qmodels": {"format": 4}, "machine_info"'),
        WHOLE.replace('"machine_info"', '"qmodels": 3, "machine_info"'),
        WHOLE.replace('"metrics"', '"numbers"'),
        WHOLE.replace('"profile"', '"kernels": 3, "profile"'),
        WHOLE.replace('"profile"', '"layers": [["stem", 1]], "profile"'),
        WHOLE.replace('"profile"', '"files": {"model.pt": "large"}, "profile"'),
        WHOLE.replace('"profile"', '"layers": [["stem", 1, Infinity]], "profile"'),
        WHOLE.replace('"profile"', '"layers": [["stem", 1, 1e999]], "profile"'),
        WHOLE.replace('"profile"', '"base": {"latency_ms": "slow"}, "profile"'),
        WHOLE.replace('"profile"', '"base": [1], "profile"'),
        WHOLE.replace('"profile"', '"images": "many", "profile"'),
        WHOLE.replace('"weights"', '["weights"]'),
        WHOLE.replace('"lower"', '"lower", "ci_level": "high"'),
        WHOLE.replace('"data": [1.0', '"data": ["short"'),
        WHOLE.replace('"variant": "fp32"', '"variant": "\\ud800"'),
        '{"format": 4}',
        '{"format": 4, "machine_class": "c", "provenance": {}, "entries": {"a": {}}}',
        '{"format": 4, "machine_class": "c", "provenance": {}, "entries": 3}',
    ],
)
def test_a_damaged_baseline_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(content)
    with pytest.raises(UserError, match="damaged.*restore it from git") as caught:
        gate.read_baseline(path, CLASS)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_keeps_details_and_a_stored_one_the_profile_alone(tmp_path: Path) -> None:
    details = gate.Details(
        kernels={"quantized::conv2d": 36},
        layers=(gate.LayerSqnr("stem.conv", 40.5, 87.25), gate.LayerSqnr("head.fc", 38.0, None)),
        profile=(Row("aten::empty", 8, 4, 2),),
        files={"model.pt": 1_423_164},
        base_seconds=(0.001, 0.002),
    )
    measured = run(benchmark(FP32, **details.as_record()))
    assert [entry.details for entry in measured.entries.values()] == [details]
    again = json.loads(json.dumps([entry.as_extra_info() for entry in measured.entries.values()]))
    assert gate.Details.from_record(again[0]) == details
    gate.accept(tmp_path, measured)
    kept = gate.read_run(stored(tmp_path)).entries.values()
    assert [entry.details for entry in kept] == [gate.Details(profile=details.profile)]


def test_an_entry_without_its_provenance_is_refused_in_one_line(tmp_path: Path) -> None:
    gate.accept(tmp_path, run(benchmark(FP32)))
    path = stored(tmp_path)
    content = json.loads(path.read_text())
    content["provenance"] = {}
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="damaged.*an entry lacks .*: restore it from git"):
        gate.read_baseline(path)


def test_damaged_predictions_are_refused_in_one_line(tmp_path: Path) -> None:
    kept = Ranks("digest", np.arange(9, dtype=np.uint8))
    gate.accept(tmp_path, run(benchmark(FP32, ranks=kept.as_record())))
    ranks_path(stored(tmp_path)).write_text("{")
    with pytest.raises(UserError, match="restore it from git"):
        gate.read_baseline(stored(tmp_path))
    ranks_path(stored(tmp_path)).write_text('{"bench_size[fp32]": {"images": "x", "packed": "!"}}')
    with pytest.raises(UserError, match="restore it from git"):
        gate.read_baseline(stored(tmp_path))
