"""Faults that benches find: in accuracy, size, memory and latency, and variants that break."""

import json
import math
import re
from contextlib import nullcontext

import pytest

from qmodels import cli
from tests.harness.conftest import Repository
from tests.harness.planting import (
    BROKEN_NUMBERS,
    COPYING,
    DYING,
    FATTER,
    GONE,
    NOISY,
    PLAIN,
    UNBUILDABLE,
    UPDATE,
    assert_red,
    loading,
    variants_file,
)


def test_noise_in_the_logits_fails_accuracy(stored: Repository) -> None:
    stored.plant(NOISY)
    result = stored.run("-k", "accuracy")
    assert_red(result, "bench_accuracy[planted] regressed: top1", "--qmodels-update-baseline")


def test_logits_that_are_not_finite_fail_accuracy_and_kernels(
    stored: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    record = stored.folder / "run.json"
    stored.plant(BROKEN_NUMBERS)
    result = stored.run("-k", "accuracy or kernels", f"--benchmark-json={record}")
    reason = "planted: 3 of 596 images have outputs that are not finite"
    kernels = "planted: 1 of 100 images have outputs that are not finite"
    assert_red(result, reason, kernels, "2 failed, 2 passed")
    for command, status, said in (
        ("report", 1, f"| bench_accuracy[planted] | {reason} |"),
        ("baseline diff", 1, f"bench_accuracy[planted] failed: {reason}"),
        ("baseline accept", 0, f"bench_accuracy[planted] not stored: it failed, {reason}"),
    ):
        capsys.readouterr()
        with pytest.raises(SystemExit) if status else nullcontext() as ended:
            cli.main([*command.split(), str(record), "--baseline", str(stored.baseline)])
        assert ended is None or ended.value.code == status
        assert said in " ".join(capsys.readouterr().out.split())


def test_fewer_images_say_what_they_could_not_show(stored: Repository) -> None:
    result = stored.run("-k", "accuracy", "--qmodels-accuracy-images=200")
    assert result.status == 0, result.printed
    assert "200 of 596 images: a loss of less than 3.00 points" in result.printed
    assert "5 ok, 0 regressed" in result.printed


def test_a_fatter_artifact_fails_size(stored: Repository) -> None:
    stored.plant(FATTER)
    result = stored.run("-k", "size")
    assert_red(result, "bench_size[planted] regressed: size_bytes")
    assert "bench_size[fp32] regressed" not in result.printed


def test_an_extra_copy_in_the_forward_fails_memory(stored: Repository) -> None:
    stored.plant(COPYING)
    regressed = "bench_memory[planted] regressed: allocated_bytes"
    assert_red(stored.run("-k", "memory and planted"), regressed, "; operator_calls from")


def test_a_forward_that_works_more_fails_latency(stored: Repository) -> None:
    times = "3 if len(images) > 1 else 24"
    slower = f"return lambda images: [forward(images) for _ in range({times})][-1]"
    stored.plant(variants_file(loading(slower)))
    result = stored.run("-k", "latency")
    assert_red(result, "bench_latency[planted-b8] regressed: latency_ratio")
    assert "entries compared with this host" in result.printed
    odd = r"^odd: planted takes \S+ ms for 1 image, \S+ ms for 8 "
    assert re.search(odd, result.printed, re.MULTILINE)
    assert "odd: fp32" not in result.printed


def test_a_slowdown_of_fp32_and_int8_alike_is_seen(stored: Repository) -> None:
    """As if both had been seven times as fast when the run was stored."""
    record = json.loads(stored.baseline.read_text())
    for entry in record["entries"].values():
        if metric := entry.get("probe_ratio"):
            metric["samples"] = [sample - math.log(7) for sample in metric["samples"]]
            metric["value"] /= 7
    stored.baseline.write_text(json.dumps(record))
    result = stored.run("-k", "latency and b8")
    assert_red(result, "bench_latency[fp32-b8] regressed: probe_ratio")
    assert "latency_ratio" not in result.printed, "they are what they were to one another"


def test_a_latency_in_doubt_is_undecided(stored: Repository) -> None:
    record = json.loads(stored.baseline.read_text())
    for entry in record["entries"].values():
        for name in {"latency_ratio", "probe_ratio"} & set(entry):
            entry[name]["samples"] = [-9.0, 9.0]
    stored.baseline.write_text(json.dumps(record))
    some = ("-k", "latency and planted-b8")
    strict, lenient = stored.run(*some, CI="true"), stored.run(*some)
    assert_red(strict, "bench_latency[planted-b8] undecided: latency_ratio", "1 undecided")
    assert lenient.status == 0
    assert "bench_latency[planted-b8] undecided: latency_ratio" in lenient.printed


def test_a_layer_that_fell_back_to_float_fails_memory(stored: Repository) -> None:
    """The others of the variant's kernels ran."""
    claimed = '{torch.nn.Linear: ("quantized::linear",), torch.nn.Conv2d: ("aten::conv2d",)}'
    stored.plant(PLAIN.replace("unfit=unfit", f"unfit=unfit, kernels={claimed}"))
    result = stored.run("-k", "memory and planted")
    assert_red(result, "planted did not run quantized::linear: it may have fallen back to float")


def test_an_interrupt_may_come_where_python_knows_no_line(
    stored: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted = """
        def run(images):
            raise KeyboardInterrupt
        code = run.__code__
        without_lines = b"\\xf8" * (len(code.co_code) // 2)
        run.__code__ = code.replace(co_linetable=without_lines)
        return run
"""
    stored.plant(variants_file(loading(interrupted)))
    with pytest.raises(KeyboardInterrupt):  # pytester passes it on
        stored.run("-k", "accuracy")
    printed = capsys.readouterr().out
    assert "! KeyboardInterrupt !" in printed
    assert "gate: 2 ok, 0 regressed" in printed


def test_a_broken_runtime_costs_its_latencies_alone(stored: Repository) -> None:
    stored.plant(DYING)
    assert_red(stored.run("-k", "latency and b1"), "1 failed, 1 passed", "planted")


def test_a_variant_that_cannot_be_built_costs_itself(stored: Repository) -> None:
    stored.plant(UNBUILDABLE)
    result = stored.run("-k", "size or accuracy")
    assert_red(result, "2 passed", "2 errors")
    assert "was not measured" not in result.printed, "the reason is said already"
    assert result.printed.count("planted can't be built (ValueError: no such axis)") >= 2
    assert result.printed.count("tried to build") == 1, "once"


def test_an_fp32_that_cannot_be_built_costs_the_benches_that_need_it(stored: Repository) -> None:
    stored.pytester.makeconftest(
        """
        from qmodels import variants
        from qmodels.system.errors import UserError

        build = variants.build

        def broken(variant, *arguments, **options):
            if variant.name == "fp32":
                raise UserError("fp32 can't be built (ValueError: no such axis)")
            return build(variant, *arguments, **options)

        variants.build = broken
        """
    )
    result = stored.run("-k", "size or accuracy or latency and b1")
    assert_red(result, "2 failed, 1 passed", "3 errors")
    assert result.printed.count("fp32 can't be built (ValueError: no such axis)") >= 5
    assert "KeyError" not in result.printed


def test_a_variant_that_is_gone_fails_until_its_entries_are_dropped(stored: Repository) -> None:
    stored.plant(GONE)
    red = stored.run("-k", "size[fp32]", variants=None, CI="true")
    line = "there is no variant planted any more"
    assert_red(red, "FAILED bench_size[planted] missing", line)
    unasked = stored.run("-k", "size", variants="fp32", CI="true")
    assert unasked.status == 0, unasked.printed
    dropped = stored.run("-k", "size[fp32]", UPDATE, variants=None)
    assert dropped.status == 0, dropped.printed
    assert "dropped, as there are no such variants: bench_accuracy[planted" in dropped.printed
    after = stored.run("-k", "size[fp32]", variants=None, CI="true")
    assert after.status == 0, after.printed


@pytest.mark.parametrize("fixable", [True, False])
def test_only_what_the_machine_cannot_run_is_excused(stored: Repository, fixable: bool) -> None:
    stored.plant(variants_file(obstacle=f"Obstacle('it needs a harpsichord', fixable={fixable})"))
    result = stored.run("-k", "size", CI="true")
    if fixable:
        line = "FAILED bench_size[planted] missing: size_bytes"
        assert_red(result, line, "it needs a harpsichord")
        return
    assert result.status == 0, result.printed
    assert "excused: planted can't run here: it needs a harpsichord" in result.printed
    stored.baseline.unlink()
    stored.run("-k", "size", UPDATE)
    skipped = json.loads(stored.baseline.read_text())["skipped"]
    assert skipped == {"it needs a harpsichord": ["planted"]}


def test_a_backend_whose_probe_fails_costs_its_variant_alone(stored: Repository) -> None:
    saturates = "\n    def saturates(self):\n        raise ValueError('no such axis')\n"
    stored.plant(variants_file(saturates))
    result = stored.run("-k", "size")
    assert "\ncompared: 6 of 6 stored entries\n" in result.printed
    assert "INTERNALERROR" not in result.printed
    assert re.search(r"planted.*no such axis", result.printed)
    assert re.search(r"= 1 passed, .*1 error in ", result.printed)
