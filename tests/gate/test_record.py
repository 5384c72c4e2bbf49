"""Records and stored runs, as they are read: what is damaged is one line with the path in it."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qmodels import gate
from qmodels.gate import Details
from qmodels.gate.ranks import Ranks
from qmodels.gate.stored import ranks_path, times_path
from qmodels.measure.operators import Row
from qmodels.system import codec
from qmodels.system.errors import UserError
from tests.gate.records import CLASS, FP32, benchmark, record, run, stored

WHOLE = json.dumps(record(benchmark(FP32)))
VERDICTS = {"format": 4, "findings": [], "gone": [], "failures": [], "skipped": {}}
INFO = "benchmarks[0].extra_info"


@pytest.mark.parametrize("other", [3, 5, "4", None])
def test_another_format_is_refused_in_one_line(other: object, tmp_path: Path) -> None:
    gate.accept(tmp_path, run(benchmark(FP32)))
    path = stored(tmp_path)
    path.write_text(path.read_text().replace('"format": 4', f'"format": {json.dumps(other)}'))
    with pytest.raises(UserError, match=f"has format {other!r}, and this qmodels reads 4: use"):
        gate.read_baseline(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "it is no JSON (Expecting value"),
        ("{", "it is no JSON"),
        ("[" * 100_000, "it is no JSON (maximum recursion depth exceeded"),
        ("[]", "expected an object"),
        ("{}", "benchmarks: it is missing"),
        ('{"benchmarks": 3}', "benchmarks: expected a list"),
        ('{"benchmarks": [3]}', "benchmarks[0]: expected an object"),
        ('{"benchmarks": [], "benchmarks": []}', "an object has 'benchmarks' twice"),
        ('{"benchmarks": [{"fullname": "a", "name": "a", "extra_info": {}}]}', f"{INFO}.network"),
        (
            WHOLE.replace('"lower"', '"sideways"'),
            f"{INFO}.metrics.size_bytes.better: expected lower or higher, not 'sideways'",
        ),
        (
            WHOLE.replace('"value": 1.0', '"value": "1.0"'),
            f"{INFO}.metrics.size_bytes.value: expected a number, not '1.0'",
        ),
        (WHOLE.replace('"value": 1.0', '"value": NaN'), "it holds the number NaN"),
        (WHOLE.replace('"value": 1.0', '"value": -Infinity'), "it holds the number -Infinity"),
        (WHOLE.replace('"value": 1.0', '"value": 1e999'), "it holds the number 1e999"),
        (
            WHOLE.replace('"batch_size": 1', '"batch_size": true'),
            f"{INFO}.batch_size: expected a whole number, not True",
        ),
        (
            WHOLE.replace('"machine_info"', '"qmodels": {"format": 4}, "machine_info"'),
            "qmodels.findings: it is missing",
        ),
        (
            WHOLE.replace('"machine_info"', '"qmodels": 3, "machine_info"'),
            "qmodels: expected an object",
        ),
        (
            WHOLE.replace('"machine_info"', '"qmodels": null, "machine_info"'),
            "qmodels: expected an object",
        ),
        (WHOLE.replace('"metrics"', '"numbers"'), f"{INFO}.metrics: it is missing"),
        (WHOLE.replace('"profile"', '"kernels": 3, "profile"'), f"{INFO}.kernels: expected an obj"),
        (
            WHOLE.replace('"profile"', '"layers": [["stem", 1]], "profile"'),
            f"{INFO}.layers[0]: expected a list of 3",
        ),
        (
            WHOLE.replace('"profile"', '"layers": [["stem", 1, "0"]], "profile"'),
            f"{INFO}.layers[0][2]: expected a number, not '0'",
        ),
        (
            WHOLE.replace('"profile"', '"files": {"model.pt": "large"}, "profile"'),
            f"{INFO}.files['model.pt']: expected a whole number, not 'large'",
        ),
        (
            WHOLE.replace('"profile"', '"base": {"latency_ms": "slow"}, "profile"'),
            f"{INFO}.base.latency_ms: expected a number",
        ),
        (WHOLE.replace('"profile"', '"base": [1], "profile"'), f"{INFO}.base: expected an object"),
        (WHOLE.replace('"profile"', '"images": "many", "profile"'), f"{INFO}.images: expected"),
        (WHOLE.replace('"weights": "weights"', '"weights": ["w"]'), f"{INFO}.weights: expected a"),
        (
            WHOLE.replace('"lower"', '"lower", "ci_level": "high"'),
            f"{INFO}.metrics.size_bytes.ci_level: expected a number",
        ),
        (
            WHOLE.replace('"lower"', '"lower", "samples": [0.5, 0.6]'),
            f"{INFO}.metrics.size_bytes: expected a value between those of its samples, not 1.0",
        ),
        (
            WHOLE.replace('"data": [1.0', '"data": ["short"'),
            "benchmarks[0].stats.data[0]: expected a number, not 'short'",
        ),
        (
            WHOLE.replace('"variant": "fp32"', '"variant": "\\ud800"'),
            "it holds half of a surrogate pair",
        ),
        (
            WHOLE.replace('"profile"', '"ranks": {"images": "a", "packed": "!"}, "profile"'),
            f"{INFO}.ranks.packed: expected an array of uint8",
        ),
        (WHOLE.replace('"profile"', '"ranks": 3, "profile"'), f"{INFO}.ranks: expected an object"),
        ('{"format": 4}', "machine_class: it is missing"),
        (
            json.dumps(
                {
                    "format": 4,
                    "machine_class": "c",
                    "source": {},
                    "provenance": {},
                    "entries": {"bench[a]": {}},
                }
            ),
            "entries['bench[a]'].about: expected an object",
        ),
    ],
)
def test_what_is_damaged_is_one_line_with_the_file_and_the_path(
    tmp_path: Path, content: str, said: str
) -> None:
    path = tmp_path / "file.json"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        gate.read_baseline(path, CLASS)
    line = str(caught.value)
    assert line.startswith(f"{path}: {said}")
    assert "damaged" in line
    assert line.endswith(
        "restore it from git, or delete it and make it again with --qmodels-update-baseline"
    )
    assert "\n" not in line


@pytest.mark.parametrize(
    ("finding", "said"),
    [
        ([["n", "bench", "fp32", 1], "bench[fp32]", "top1", "ok", "", ""], None),
        (
            [["n", "bench", "fp32"], "bench[fp32]", "top1", "ok", "", ""],
            r"\[0\]: expected a list of 4",
        ),
        (
            [["n", "bench", "fp32", 1], "bench[fp32]", "top1", "fine", "", ""],
            r"\[3\]: expected ok or regressed",
        ),
        ([["n", "bench", "fp32", 1], "bench[fp32]", "top1", "ok", ""], ": expected a list of 6"),
    ],
)
def test_a_verdict_is_read_or_refused(finding: list[Any], said: str | None, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    content = record(benchmark(FP32)) | {gate.SECTION: VERDICTS | {"findings": [finding]}}
    path.write_text(json.dumps(content))
    if said is None:
        assert gate.read_run(path).findings == (
            gate.Finding(gate.Key("n", "bench", "fp32", 1), "bench[fp32]", "top1", "ok", "", ""),
        )
    else:
        with pytest.raises(UserError, match=rf"qmodels\.findings\[0\]\.?{said}"):
            gate.read_run(path)


def test_benchmarks_of_other_tests_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    other = {"fullname": "t.py::test_a", "name": "test_a", "extra_info": {"speed": 1}, "stats": {}}
    content = record(other, benchmark(FP32))
    path.write_text(json.dumps(content | {gate.SECTION: VERDICTS}))
    assert [key.variant for key in gate.read_run(path).entries] == [FP32]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"benchmarks\[0\]\.extra_info\.network: it is missing"):
        gate.read_run(path)


def test_a_run_keeps_details_and_a_stored_one_the_profile_alone(tmp_path: Path) -> None:
    details = Details(
        kernels={"quantized::conv2d": 36},
        layers=(gate.LayerSqnr("stem.conv", 40.5, 87.25), gate.LayerSqnr("head.fc", 38.0, None)),
        profile=(Row("aten::empty", 8, 4, 2),),
        files={"model.pt": 1_423_164},
        base_seconds=(0.001, 0.002),
    )
    measured = run(benchmark(FP32, **codec.encode(details)))
    assert details_of(measured) == details
    gate.accept(tmp_path, measured)
    assert details_of(gate.read_run(stored(tmp_path))) == Details(profile=details.profile)


def details_of(measured: gate.Run) -> Details:
    """What a run of one benchmark keeps beside its metrics."""
    (entry,) = measured.entries.values()
    return Details(**{field.name: getattr(entry, field.name) for field in fields(Details)})


def test_an_entry_without_its_provenance_is_refused_in_one_line(tmp_path: Path) -> None:
    gate.accept(tmp_path, run(benchmark(FP32)))
    path = stored(tmp_path)
    content = json.loads(path.read_text())
    content["provenance"] = {}
    path.write_text(json.dumps(content))
    said = r"entries\['bench_size\[fp32\]'\]\.about\.provenance: the file has no provenance '\w+'"
    with pytest.raises(UserError, match=f"{said}: it is damaged.*restore it from git"):
        gate.read_baseline(path)


@pytest.mark.parametrize("beside", [ranks_path, times_path])
def test_damage_of_the_files_beside_is_one_line(beside: Any, tmp_path: Path) -> None:
    kept = Ranks("digest", np.arange(9, dtype=np.uint8))
    gate.accept(tmp_path, run(benchmark(FP32, ranks=codec.encode(kept))))
    path = beside(stored(tmp_path))
    whole = path.read_text()
    for content in (
        "{",
        "[]",
        whole.replace("digest", "\\ud800").replace('"group": "size"', '"group": 3'),
    ):
        path.write_text(content)
        with pytest.raises(UserError, match="restore it from git") as caught:
            gate.read_baseline(stored(tmp_path))
        assert str(path) in str(caught.value)
    path.unlink()
    assert gate.read_baseline(stored(tmp_path)) is not None


def test_what_a_run_is_compared_with_is_named(tmp_path: Path) -> None:
    path = tmp_path / "before.json"
    path.write_text(WHOLE)
    (now,) = run(benchmark(FP32, 2.0)).entries.values()
    (finding,) = gate.compare(now, gate.read_baseline(path), gate.read_tolerances(tmp_path))
    assert finding.context.startswith(f"Compared with {path}, this host")
