"""`pytest benches` as users run it, in a copy of the repository, green and red."""

import dataclasses
import json
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import torch

from qmodels import checkpoints, cli, gate, machine
from qmodels.gate.baseline import ranks_path

ROOT = Path(__file__).parent.parent
VARIANTS = "--qmodels-variants=fp32,dynamic-int8"
UPDATE = "--qmodels-update-baseline"
PLANTED = """
from dataclasses import replace
from qmodels.variants import artifact, registry
registry.all_variants()
"""
FATTER = (
    PLANTED
    + """
from qmodels.runtimes.format import Format
fp32 = registry._VARIANTS["fp32"]
def save(model, structure, folder):
    fp32.format.save(model, structure, folder)
    (folder / "labels.txt").write_text("a class\\n" * 1000)
registry._VARIANTS["fp32"] = replace(fp32, format=Format(save, fp32.format.load))
"""
)
COPYING = (
    PLANTED
    + """
load = artifact.Artifact.load
def copying(self):
    forward = load(self)
    return lambda images: forward(images.clone())
artifact.Artifact.load = copying
"""
)
NOISY = (
    PLANTED
    + """
import torch
load = artifact.Artifact.load
def noisy(self):
    forward = load(self)
    torch.manual_seed(0)
    return lambda images: (logits := forward(images)) + 5 * torch.randn_like(logits)
artifact.Artifact.load = noisy
"""
)
BROKEN_NUMBERS = (
    PLANTED
    + """
import torch
load = artifact.Artifact.load
def broken(self):
    forward = load(self)
    if self.variant.name == "fp32":
        return forward
    def run(images):
        logits = forward(images).clone()
        logits[-1, 3] = float("nan")
        return logits
    return run
artifact.Artifact.load = broken
"""
)
GONE = PLANTED + "registry._VARIANTS.pop('dynamic-int8')\n"
UNBUILDABLE = (
    PLANTED
    + """
def quantize(*inputs):
    print("tried to build")
    raise ValueError("no such axis")
registry._VARIANTS["dynamic-int8"] = replace(
    registry._VARIANTS["dynamic-int8"], quantize=quantize
)
"""
)
UNFIT = (
    PLANTED
    + """
from qmodels.obstacles import Obstacle
obstacle = Obstacle("it needs a harpsichord", mendable={mendable})
registry._VARIANTS["dynamic-int8"] = replace(
    registry._VARIANTS["dynamic-int8"], here=lambda: obstacle
)
"""
)
LOADED = "    return {PROBE: probe, **ceiling.limits(), **models}"
# In a copy's own code, as a commit would: the processes that take times import it.
SLOWER = """
    def slower(loader):
        def twice():
            forward = loader()
            return lambda images: (forward(images), forward(images))[1]
        return twice

    slowed = {name: slower(one) if name in SLOWED else one for name, one in models.items()}
    return {PROBE: probe, **ceiling.limits(), **slowed}"""

TAKEN = """    started = time.perf_counter()
    forward(images)
    return time.perf_counter() - started"""
# Seconds that no neighbour of this machine has a part in: by the calls of a forward.
COUNTED = """    import sys

    calls: list[str] = []
    sys.setprofile(lambda frame, event, argument: calls.append(event))
    forward(images)
    sys.setprofile(None)
    return 0.001 * (1 + len(calls) / 1000)"""


DYING = """
    def dying():
        os.abort()

    models["dynamic-int8"] = dying
    return {PROBE: probe, **ceiling.limits(), **models}"""


def slowing(repository: Path, *names: str) -> AbstractContextManager[None]:
    """Have models of the copy work twice as much for a while."""
    stopwatch = repository / "qmodels" / "measure" / "stopwatch.py"
    return edited(stopwatch, LOADED, SLOWER.replace("SLOWED", repr(names)))


@dataclasses.dataclass(frozen=True)
class Result:
    """Exit status and everything printed of a pytest run."""

    returncode: int
    stdout: str


Run = Callable[..., Result]


def run_pytest(
    folder: Path, arguments: list[str], environment: dict[str, str], printed: Path
) -> None:
    """Run pytest in this process as a user would in that folder."""
    with printed.open("w") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    os.chdir(folder)
    for name in [name for name in os.environ if name == "CI" or name.startswith("PYTEST_XDIST")]:
        del os.environ[name]
    os.environ.update({"PYTHONPATH": str(folder), **environment})
    sys.path[:] = [str(folder), *(path for path in sys.path if Path(path) != ROOT)]
    for name in [name for name in sys.modules if name.partition(".")[0] in ("qmodels", "conftest")]:
        del sys.modules[name]
    sys.exit(int(pytest.main(arguments)))


def edit(path: Path, old: str, new: str) -> str:
    """Replace a part of a file; returns what was there."""
    whole = path.read_text()
    assert old in whole
    path.write_text(whole.replace(old, new))
    return whole


@contextmanager
def edited(path: Path, old: str, new: str) -> Iterator[None]:
    """Have a part of a file be another for a while."""
    whole = edit(path, old, new)
    try:
        yield
    finally:
        path.write_text(whole)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the harness needs."""
    folder = tmp_path_factory.mktemp("repository")
    for name in ("qmodels", "benches"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shipped = folder / "baselines" / "checkpoints"
    shipped.mkdir(parents=True)
    for one in checkpoints.read_index(ROOT / "baselines" / "checkpoints"):
        if one.dataset == "digits":
            shutil.copy(one.path, shipped)
    shutil.copy(ROOT / "baselines" / "checkpoints" / checkpoints.INDEX, shipped)
    shutil.copy(ROOT / "baselines" / "tolerances.toml", folder / "baselines")
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    # A few short processes are enough here.
    edit(folder / "qmodels/measure/latency.py", "BUDGET_SECONDS = 1.0", "BUDGET_SECONDS = 0.2")
    edit(folder / "qmodels/gate/processes.py", "STORED_PROCESSES = 12", "STORED_PROCESSES = 2")
    sequential = folder / "qmodels/gate/sequential.py"
    edit(sequential, "Stage(first=4, most=24", "Stage(first=1, most=1")
    edit(sequential, "Stage(first=5, most=24", "Stage(first=1, most=1")
    edit(folder / "qmodels/measure/stopwatch.py", TAKEN, COUNTED)
    return folder


@pytest.fixture(scope="module")
def run(repository: Path, cache: Path) -> Run:
    """Run `pytest` there on the digits, with a plugin where something is to be planted."""

    # Each run is a fresh process, forked from one that has imported torch and nothing of ours.
    context = multiprocessing.get_context("forkserver")
    slow_to_import = ["torch._dynamo", "torch.ao.quantization", "torch.profiler", "scipy.special"]
    context.set_forkserver_preload([*slow_to_import, "sklearn.datasets", "pytest"])

    def pytest_in_copy(*arguments: str, plugin: str | None = None, **environment: str) -> Result:
        if plugin is not None:
            (repository / "planted.py").write_text(plugin)
            arguments = ("-p", "planted", *arguments)
        printed = repository / "printed"
        child = context.Process(
            target=run_pytest,
            args=(repository, ["--qmodels-dataset=digits", *arguments], environment, printed),
        )
        child.start()
        child.join()
        return Result(child.exitcode or 0, printed.read_text())

    return pytest_in_copy


@pytest.fixture(scope="module")
def baseline(repository: Path, run: Run) -> Path:
    """The baseline that the first run stores."""
    made = run("benches", VARIANTS, "--qmodels-update-baseline")
    assert made.returncode == 0, made.stdout
    assert "baseline updated" in made.stdout
    return gate.baseline_path(
        repository / "baselines", machine.machine_class(), "digits-resnet34-w8"
    )


def assert_red(result: Result, *said: str) -> None:
    assert result.returncode == 1, result.stdout
    for line in said:
        assert line in result.stdout, result.stdout
    assert "Traceback" not in result.stdout


def test_an_unchanged_run_is_green_and_prints_the_table(run: Run, baseline: Path) -> None:
    before = baseline.read_bytes()
    result = run(
        "benches",
        VARIANTS,
        "--qmodels-require-baseline",
        "-k",
        "not latency",
        "--benchmark-compare",
    )
    assert result.returncode == 0, result.stdout
    assert "0 regressed, 0 improved, 0 undecided, 0 new, 0 missing" in result.stdout
    assert "| dynamic-int8 |" in result.stdout
    assert "(NOW)" in result.stdout, "pytest-benchmark's own comparison"
    assert "qmodels: digits (asked for), resnet34 width 8" in result.stdout
    assert baseline.read_bytes() == before, "a run must not move the baseline"


def test_noise_in_the_logits_fails_accuracy(run: Run, baseline: Path) -> None:
    result = run("benches/bench_accuracy.py", VARIANTS, plugin=NOISY)
    assert_red(result, "top1 of bench_accuracy[fp32] regressed", "--qmodels-update-baseline")


def test_logits_that_are_not_finite_fail_accuracy_and_kernels(run: Run, baseline: Path) -> None:
    selected = ("benches/bench_accuracy.py", "benches/bench_kernels.py", VARIANTS)
    result = run(*selected, plugin=BROKEN_NUMBERS)
    assert_red(
        result,
        "dynamic-int8: 3 of 596 images have logits that are not finite",
        "dynamic-int8: 1 of 100 images have logits that are not finite",
        "2 failed, 2 passed",
    )


def test_other_weights_have_no_stored_run(run: Run, baseline: Path, repository: Path) -> None:
    shipped = repository / "baselines" / "checkpoints"
    kept = {path: path.read_bytes() for path in shipped.iterdir()}
    digits = [one for one in checkpoints.read_index(shipped) if one.dataset == "digits"]
    (one,) = [one for one in digits if one.parent is None]
    model = checkpoints.load_model(one)
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.data += 0.5 * parameter.std() * torch.randn_like(parameter)
    other = checkpoints.save(model.state_dict(), dataclasses.replace(one, folder=shipped))
    try:
        result = run("benches/bench_accuracy.py", VARIANTS, CI="true")
        named = run("benches/bench_size.py", VARIANTS, "--qmodels-checkpoint", other.path.stem)
    finally:
        for path, content in kept.items():
            path.write_bytes(content)
    said = f"no run is stored for digits-resnet34-w8 of {other.digest}"
    assert_red(result, said, "baseline: nothing: no stored run of these weights fits")
    assert other.digest != one.digest
    assert named.returncode == 0
    assert (
        f"checkpoint: {other.path.stem}, top-1 {other.top1:.2f} %, {other.digest}" in named.stdout
    )


def test_what_was_trained_later_does_not_replace_the_shipped_weights(
    run: Run, baseline: Path, repository: Path, tmp_path: Path
) -> None:
    shipped = repository / "baselines" / "checkpoints"
    (one,) = [
        one
        for one in checkpoints.read_index(shipped)
        if one.dataset == "digits" and one.parent is None
    ]
    folder = tmp_path / "checkpoints"
    later = dataclasses.replace(one, folder=folder, file="later.safetensors", top1=11.0)
    later = checkpoints.save(checkpoints.load_model(one).state_dict(), later)
    size = ("benches/bench_size.py", "--qmodels-variants=fp32")
    cache = {"QMODELS_CACHE_DIR": str(tmp_path), "CI": "true"}
    default, named = run(*size, **cache), run(*size, "--qmodels-checkpoint=later", **cache)
    assert default.returncode == 0, default.stdout
    assert f"checkpoint: {one.path.stem}" in default.stdout
    assert "checkpoint: later, top-1 11.00 %" in named.stdout


@contextmanager
def kept(baseline: Path) -> Iterator[None]:
    """Restore a baseline and its ranks after a while."""
    files = {path: path.read_bytes() for path in (baseline, ranks_path(baseline))}
    try:
        yield
    finally:
        for path, content in files.items():
            path.write_bytes(content)


def test_a_variant_that_is_gone_fails_until_its_entries_are_dropped(
    run: Run, baseline: Path
) -> None:
    some = ("benches/bench_size.py", "-k", "[fp32]")
    line = "there is no variant dynamic-int8 any more"
    assert_red(run(*some, plugin=GONE, CI="true"), "bench_size[dynamic-int8] is in the base", line)
    asked = run(*some, "--qmodels-variants=fp32", plugin=GONE, CI="true")
    assert asked.returncode == 0, asked.stdout
    with kept(baseline):
        dropped = run(*some, UPDATE, plugin=GONE)
        assert dropped.returncode == 0, dropped.stdout
        assert "dropped, as there are no such variants: bench_accuracy[dynamic" in dropped.stdout
        after = run(*some, plugin=GONE, CI="true")
    assert after.returncode == 0, after.stdout


@pytest.mark.parametrize("mendable", [True, False])
def test_only_what_the_machine_cannot_run_is_excused(
    run: Run, baseline: Path, mendable: bool
) -> None:
    result = run(
        "benches/bench_size.py", VARIANTS, plugin=UNFIT.format(mendable=mendable), CI="true"
    )
    if mendable:
        assert_red(result, "FAILED bench_size[dynamic-int8] is in the baseline and was not")
    else:
        assert result.returncode == 0, result.stdout
        assert "excused: dynamic-int8 can't run here: it needs a harpsichord" in result.stdout


def test_a_latency_in_doubt_is_undecided(run: Run, baseline: Path) -> None:
    record = json.loads(baseline.read_text())
    for one in record["benchmarks"]:
        for name in ("latency_ratio", "probe_ratio"):
            if name in one["extra_info"]["metrics"]:
                one["extra_info"]["metrics"][name]["samples"] = [-9.0, 9.0]
    some = ("benches/bench_latency.py", VARIANTS, "-k", "dynamic-int8-b8")
    with kept(baseline):
        baseline.write_text(json.dumps(record))
        strict, lenient = run(*some, CI="true"), run(*some)
    assert_red(strict, "latency_ratio of bench_latency[dynamic-int8-b8] undecided", "1 undecided")
    assert lenient.returncode == 0
    assert "latency_ratio of bench_latency[dynamic-int8-b8] undecided" in lenient.stdout


def test_a_variant_that_cannot_be_built_costs_itself(
    run: Run, baseline: Path, tmp_path: Path
) -> None:
    result = run(
        *("benches/bench_size.py", "benches/bench_accuracy.py", VARIANTS),
        plugin=UNBUILDABLE,
        QMODELS_CACHE_DIR=str(tmp_path),
    )
    assert_red(result, "2 passed", "2 errors")
    assert "was not measured" not in result.stdout, "the reason is said already"
    assert result.stdout.count("dynamic-int8 can't be built (ValueError: no such axis)") >= 2
    assert result.stdout.count("tried to build") == 1, "once"


def test_a_broken_runtime_costs_its_latencies_alone(
    run: Run, baseline: Path, repository: Path
) -> None:
    stopwatch = repository / "qmodels" / "measure" / "stopwatch.py"
    with edited(stopwatch, LOADED, DYING):
        result = run("benches/bench_latency.py", VARIANTS, "-k", "b1")
    assert_red(result, "1 failed, 1 passed", "dynamic-int8")


@pytest.mark.parametrize("value", ["0", "False"])
def test_ci_that_is_switched_off_is_none(run: Run, baseline: Path, value: str) -> None:
    result = run("benches", VARIANTS, "-k", "nothing_is_called_this", CI=value)
    assert result.returncode == 5, "pytest's own for no tests"


@pytest.mark.parametrize("options", [["-pno:cacheprovider", "-pno:capture"], ["--sw"]])
def test_no_option_of_pytest_ends_in_an_internal_error(
    run: Run, baseline: Path, options: list[str]
) -> None:
    result = run("benches/bench_size.py", VARIANTS, *options, CI="true")
    assert result.returncode == 0, result.stdout
    assert "INTERNALERROR" not in result.stdout


@pytest.mark.parametrize("option", ["--co", "--fixtures", "--setup-plan"])
def test_what_only_shows_something_measures_nothing_and_passes(
    option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CI", "true")
    given = ["-p", "no:cacheprovider", "benches", "--qmodels-dataset=digits", VARIANTS, option]
    assert pytest.main(given) == pytest.ExitCode.OK
    assert "INTERNALERROR" not in capsys.readouterr().out


@contextmanager
def of_another_class(baseline: Path) -> Iterator[Path]:
    """The stored run as if it had been made on the oldest class of this architecture."""
    here = machine.machine_class()
    folder = baseline.parents[1] / f"{here.rpartition('-')[0]}-baseline"
    shutil.copytree(baseline.parent, folder)
    shutil.move(baseline.parent, baseline.parents[1] / "hidden")
    other = folder / baseline.name
    other.write_text(other.read_text().replace(here, folder.name))
    try:
        yield other
    finally:
        shutil.rmtree(folder)
        shutil.move(baseline.parents[1] / "hidden", baseline.parent)


def test_the_nearest_class_gates_what_both_compute_alike(run: Run, baseline: Path) -> None:
    with of_another_class(baseline) as other:
        result = run("benches", VARIANTS, CI="true")
        with edited(other, '"size_bytes": {"value": ', '"size_bytes": {"value": 0.'):
            fatter = run("benches/bench_size.py", VARIANTS, CI="true")
    assert result.returncode == 0, result.stdout
    assert f"baseline: baselines/{other.parent.name}/{other.name}, the nearest" in result.stdout
    assert "latency: held against nothing: that of another class tells little" in result.stdout
    assert "0 undecided, 0 new, 0 missing" in result.stdout
    assert_red(fatter, "size_bytes of bench_size[fp32] regressed", "another class")


def test_beside_a_base_what_it_does_not_know_is_new(
    run: Run, baseline: Path, repository: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    shutil.copytree(repository, base)
    dynamic = base / "qmodels" / "variants" / "dynamic.py"
    edit(dynamic, '"dynamic-int8"', '"dynamic-int7"')
    result = run("benches", VARIANTS, "--qmodels-base", str(base), "-k", "size", CI="true")
    assert result.returncode == 0, result.stdout
    assert "1 ok, 0 regressed, 0 improved, 0 undecided, 1 new" in result.stdout
    assert "dynamic-int8] new" in result.stdout


def test_beside_a_base_a_change_passes_where_the_stored_run_accepts_it(
    run: Run, baseline: Path, repository: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    shutil.copytree(repository, base)
    beside = ("benches/bench_size.py", "--qmodels-variants=fp32", "--qmodels-base", str(base))
    caches = {"QMODELS_CACHE_DIR": str(tmp_path / "cache")}
    assert_red(
        run(*beside, plugin=FATTER, **caches), "size_bytes of bench_size[fp32] regressed", "base"
    )
    with kept(baseline):
        stored = run(*beside[:2], UPDATE, plugin=FATTER, **caches)
        assert stored.returncode == 0, stored.stdout
        accepted = run(*beside, plugin=FATTER, CI="true", **caches)
    assert accepted.returncode == 0, accepted.stdout
    assert "1 ok, 0 regressed" in accepted.stdout


def test_a_fatter_artifact_fails_size(run: Run, baseline: Path, tmp_path: Path) -> None:
    result = run("benches/bench_size.py", VARIANTS, plugin=FATTER, QMODELS_CACHE_DIR=str(tmp_path))
    assert_red(result, "size_bytes of bench_size[fp32] regressed")
    assert "size_bytes of bench_size[dynamic-int8]" not in result.stdout


def test_an_extra_copy_in_the_forward_fails_memory(run: Run, baseline: Path) -> None:
    result = run("benches/bench_memory.py", VARIANTS, plugin=COPYING)
    assert_red(
        result,
        "allocated_bytes of bench_memory[fp32] regressed",
        "operator_calls of bench_memory[dynamic-int8] regressed",
    )


def test_a_forward_that_works_more_fails_latency(
    run: Run, baseline: Path, repository: Path
) -> None:
    with slowing(repository, "dynamic-int8"):
        result = run("benches/bench_latency.py", VARIANTS, "-k", "b8")
    assert_red(result, "latency_ratio of bench_latency[dynamic-int8-b8] regressed")
    assert "held against the stored run of this host" in result.stdout


def test_a_slowdown_of_fp32_and_int8_alike_is_seen(
    run: Run, baseline: Path, repository: Path
) -> None:
    with slowing(repository, "fp32", "dynamic-int8"):
        result = run("benches/bench_latency.py", VARIANTS, "-k", "b8")
    assert_red(result, "probe_ratio of bench_latency[fp32-b8] regressed")
    assert "latency_ratio" not in result.stdout, "they are what they were to one another"


def test_latency_is_held_against_a_base_in_turn(
    run: Run, baseline: Path, repository: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    shutil.copytree(repository, base)
    with slowing(repository, "dynamic-int8"):
        given = ("--qmodels-base", str(base), "-k", "b8")  # a folder, which pytest looks into too
        result = run("benches", VARIANTS, *given)
    assert_red(result, "latency_change of bench_latency[dynamic-int8-b8] regressed")
    assert "latency_change of bench_latency[fp32-b8]" not in result.stdout, "it was not slowed"
    assert "x base" in result.stdout


def test_what_got_better_is_said_and_not_hidden(run: Run, baseline: Path, repository: Path) -> None:
    sizes = '"size_bytes": {"value": '
    with edited(baseline, sizes, sizes + "9"):
        result = run("benches/bench_size.py", VARIANTS, CI="true")
    assert result.returncode == 0, result.stdout
    assert "2 improved" in result.stdout
    assert "bank it with --qmodels-update-baseline" in result.stdout


def test_a_deleted_entry_fails_where_it_is_required_and_warns_elsewhere(
    run: Run, baseline: Path
) -> None:
    whole = baseline.read_text()
    record = json.loads(whole)
    record["benchmarks"] = [
        one
        for one in record["benchmarks"]
        if "bench_size.py::bench_size[fp32]" not in one["fullname"]
    ]
    baseline.write_text(json.dumps(record))
    line = "size_bytes of bench_size[fp32] missing"
    try:
        assert_red(run("benches/bench_size.py", VARIANTS, CI="true"), line)
        lenient = run("benches/bench_size.py", VARIANTS)
    finally:
        baseline.write_text(whole)
    assert lenient.returncode == 0
    assert line in lenient.stdout


def test_a_bench_that_vanished_fails(run: Run, baseline: Path, repository: Path) -> None:
    bench = repository / "benches" / "bench_size.py"
    content = bench.read_text()
    bench.write_text(content.replace("def bench_size", "def bench_bytes"))
    try:
        result = run("benches/bench_size.py", VARIANTS, CI="true")
    finally:
        bench.write_text(content)
    assert_red(result, "bench_size[fp32] is in the baseline and was not measured")


def test_an_empty_run_fails_where_a_baseline_is_required(run: Run, baseline: Path) -> None:
    result = run("benches", VARIANTS, "-k", "nothing_is_called_this", CI="true")
    assert result.returncode != 0
    assert "no bench was measured" in result.stdout


def test_a_failed_run_does_not_move_the_baseline(
    run: Run, baseline: Path, repository: Path
) -> None:
    before = baseline.read_bytes()
    bench = repository / "benches" / "bench_broken.py"
    bench.write_text("def bench_broken():\n    assert False\n")
    try:
        result = run("benches/bench_broken.py", "benches/bench_size.py", VARIANTS, UPDATE)
    finally:
        bench.unlink()
    assert result.returncode == 1
    assert "baseline not updated: this run failed" in result.stdout
    assert baseline.read_bytes() == before


def test_a_partial_update_says_what_it_kept(run: Run, baseline: Path) -> None:
    before = set(json.loads(baseline.read_text())["machine_info"])
    result = run("benches/bench_size.py", VARIANTS, UPDATE)
    assert result.returncode == 0
    assert "2 entries; partial run: 10 other entries kept" in result.stdout
    assert set(json.loads(baseline.read_text())["machine_info"]) == before


def test_baselines_name_no_host(baseline: Path) -> None:
    text = baseline.read_text()
    assert os.uname().nodename not in text
    assert str(Path.home()) not in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--qmodels-variants=fp32,int3", "unknown variant 'int3'"),
        ("--qmodels-architecture=vgg", "unknown architecture 'vgg'"),
        ("--qmodels-dataset=imagenet", "unknown data set 'imagenet'"),
        ("--qmodels-width=0", "width 0"),
        ("--qmodels-threads=0", "--qmodels-threads 0"),
        ("--qmodels-accuracy-images=few", "--qmodels-accuracy-images few"),
        ("--benchmark-compare benches", "put it after the paths"),
        ("--qmodels-base=no-such-branch", "neither a folder nor a commit"),
    ],
)
def test_bad_options_are_one_line(
    arguments: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process, which has torch: pytest can be called as often as one likes."""
    monkeypatch.delenv("CI", raising=False)
    status = pytest.main(["-p", "no:cacheprovider", "benches", *arguments.split()])
    printed = capsys.readouterr()
    assert status == pytest.ExitCode.USAGE_ERROR
    assert said in printed.err
    assert "Traceback" not in printed.out + printed.err


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"torch": "', '"torch": "1.', "it is stale"),
        ('"threads": 1', '"threads": 2', "threads 2, and this run has 1"),
        ('"width": 8', '"width": 16', "width 16, and this run has 8"),
        ('"dataset": "digits"', '"dataset": "cifar100"', "dataset cifar100"),
    ],
)
def test_a_baseline_of_other_conditions_fails_where_one_is_required(
    run: Run, baseline: Path, old: str, new: str, said: str
) -> None:
    with edited(baseline, old, new):
        assert_red(run("benches/bench_size.py", VARIANTS, CI="true"), said)
        lenient = run("benches/bench_size.py", VARIANTS)
    assert lenient.returncode == 0
    assert said in lenient.stdout


def test_nonsense_in_the_baseline_ends_the_session_in_one_line(run: Run, baseline: Path) -> None:
    with edited(baseline, '"size_bytes": {"value": ', '"size_bytes": {"value": "much", "was": '):
        result = run("benches/bench_size.py", VARIANTS)
    assert result.returncode == 4
    assert "is damaged" in result.stdout
    assert "Traceback" not in result.stdout


def test_several_processes_gate_accuracy_and_leave_latency_out(run: Run, baseline: Path) -> None:
    pytest.importorskip("xdist")
    selected = ("benches", VARIANTS, "-n2", "-rs", "-k", "accuracy or size or latency and b1")
    result = run(*selected, CI="true")
    assert "7 ok, 0 regressed" in result.stdout, "top1, top5_error, size_bytes of two, one sqnr_db"
    assert "run it without -n" in result.stdout
    assert_red(result, "bench_latency[fp32-b1] is in the baseline and was not measured")
    assert "bench_accuracy[fp32] is in the baseline" not in result.stdout
    assert "bench_memory" not in result.stdout, "it was not asked for"


def test_a_regression_found_by_another_process_fails(run: Run, baseline: Path) -> None:
    pytest.importorskip("xdist")
    sizes = '"size_bytes": {"value": '
    with edited(baseline, sizes, sizes + "0."):
        result = run("benches/bench_size.py", VARIANTS, "-n", "2")
    assert_red(result, "size_bytes of bench_size[fp32] regressed", "2 regressed")


def test_the_order_of_benches_does_not_matter(run: Run, baseline: Path) -> None:
    reverse = "def pytest_collection_modifyitems(items):\n    items.reverse()\n"
    selected = ("benches", VARIANTS, "-k", "accuracy or size")
    tables = [
        [line for line in run(*selected, plugin=plugin).stdout.splitlines() if line[:2] == "| "]
        for plugin in ("", reverse)
    ]
    assert len(tables[0]) == 4
    one, other = (sorted(map(accuracy_and_size, table)) for table in tables)
    assert one == other


def accuracy_and_size(line: str) -> list[str]:
    """The first columns of a row: what no noise moves."""
    return line.split("|")[1:5]


def test_stopping_at_the_first_failure_is_said_in_one_line(run: Run, baseline: Path) -> None:
    some = ("benches/bench_size.py", "benches/bench_accuracy.py", VARIANTS)
    sizes = '"size_bytes": {"value": '
    with edited(baseline, sizes, sizes + "0."):
        stopped = run(*some, "-x", CI="true")
    assert_red(stopped, "stopped early: 3 benches were not measured")
    assert "is in the baseline and was not measured" not in stopped.stdout
    mended = run(*some, "--lf", CI="true")
    assert mended.returncode == 0, mended.stdout
    assert "1 ok, 0 regressed" in mended.stdout
    assert "--lf: 2 benches of the baseline were left out" in mended.stdout


def test_benchmark_only_measures_all_the_same(run: Run, baseline: Path) -> None:
    result = run("benches/bench_size.py", VARIANTS, "--benchmark-only", CI="true")
    assert result.returncode == 0, result.stdout
    assert "2 ok, 0 regressed" in result.stdout
    skipped = run("benches/bench_size.py", VARIANTS, "--benchmark-skip", CI="true")
    assert_red(skipped, "no bench was measured")


def test_without_timing_latency_is_missed_where_it_is_required(run: Run, baseline: Path) -> None:
    result = run("benches", VARIANTS, "--benchmark-disable", "-k", "latency and b1", CI="true")
    assert_red(result, "bench_latency[fp32-b1] is in the baseline and was not measured")


def test_fewer_images_stop_early_and_say_what_they_could_not_see(run: Run, baseline: Path) -> None:
    result = run("benches/bench_accuracy.py", VARIANTS, "--qmodels-accuracy-images=200")
    assert result.returncode == 0, result.stdout
    assert "200 of 596 images; on so many, a loss of less than 3.00 points" in result.stdout
    assert "5 ok, 0 regressed" in result.stdout


@pytest.mark.parametrize(
    "option", ["--qmodels-base=benches", "--qmodels-accuracy-images=9", "--benchmark-disable"]
)
def test_only_whole_runs_are_stored(
    option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CI", raising=False)
    status = pytest.main(["-p", "no:cacheprovider", "benches", UPDATE, option])
    assert status == pytest.ExitCode.USAGE_ERROR
    assert f"leave out {option.partition('=')[0]}" in capsys.readouterr().err


def test_a_changed_run_is_accepted_by_the_command(
    run: Run, baseline: Path, repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "run.json"
    whole = baseline.read_text()
    sizes = '"size_bytes": {"value": '
    with edited(baseline, sizes, sizes + "0."):
        assert run("benches/bench_size.py", VARIANTS, f"--benchmark-json={record}").returncode == 1
        given = ["--baseline", str(baseline)]
        with pytest.raises(SystemExit, match="^1$"):
            cli.main(["baseline", "diff", str(record), *given])
        assert "0 ok, 2 regressed" in capsys.readouterr().out
        cli.main(["baseline", "accept", str(record), *given])
        assert "2 accepted, 10 kept" in capsys.readouterr().out
        cli.main(["baseline", "accept", str(record), *given])
        assert "nothing to accept" in capsys.readouterr().out
        now = json.loads(baseline.read_text())["benchmarks"]
        before = json.loads(whole)["benchmarks"]
        metrics = [[one["extra_info"]["metrics"] for one in some] for some in (now, before)]
        for measured in (one["size_bytes"] for one in metrics[0] if "size_bytes" in one):
            measured["tolerance"] = None
        for measured in (one["size_bytes"] for one in metrics[1] if "size_bytes" in one):
            measured["tolerance"] = None
        assert metrics[0] == metrics[1]
        cli.main(["baseline", "show", str(baseline)])
        assert "bench_size[fp32]" in capsys.readouterr().out


def test_no_checkpoint_ends_the_session_with_the_command_that_trains_it(run: Run) -> None:
    result = run("benches/bench_size.py", "--qmodels-width=24")
    assert result.returncode == 2
    assert (
        result.stdout.count("qmodels train --dataset digits --architecture resnet34 --width 24")
        == 1
    )
    assert "Traceback" not in result.stdout


@pytest.mark.parametrize("damage", ["another machine class", "truncated"])
def test_a_baseline_that_does_not_fit_ends_the_session_in_one_line(
    run: Run, baseline: Path, damage: str
) -> None:
    whole = baseline.read_text()
    if damage == "truncated":
        baseline.write_text(whole[:1000])
    else:
        baseline.write_text(whole.replace(f'"{machine.machine_class()}"', '"plan9-mips-none"'))
    try:
        result = run("benches/bench_size.py", VARIANTS)
    finally:
        baseline.write_text(whole)
    assert result.returncode == 4
    said = "is damaged" if damage == "truncated" else "was made on plan9-mips-none"
    assert said in result.stdout
    assert "Traceback" not in result.stdout


def test_a_run_record_becomes_a_report(
    run: Run, baseline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "run.json"
    assert run("benches/bench_size.py", VARIANTS, f"--benchmark-json={record}").returncode == 0
    extra_info = json.loads(record.read_text())["benchmarks"][0]["extra_info"]
    named = {
        "variant",
        "engine",
        "architecture",
        "width",
        "dataset",
        "machine_class",
        "threads",
        "batch_size",
        "versions",
        "metrics",
    }
    assert named <= set(extra_info)
    cli.main(["report", str(record), "--baseline", str(baseline)])
    printed = capsys.readouterr().out
    assert printed.startswith("## resnet34, width 8, digits")
    assert "| fp32  " in printed
    assert "(=)" in printed


def test_without_timing_accuracy_is_still_gated(run: Run, baseline: Path) -> None:
    result = run("benches", VARIANTS, "--benchmark-disable", "-k", "accuracy or latency")
    assert result.returncode == 0, result.stdout
    assert "2 passed, 4 skipped" in result.stdout
    assert "0 regressed" in result.stdout


def test_benches_of_a_processor_are_of_what_runs_there(run: Run, baseline: Path) -> None:
    chosen = "--qmodels-variants=fp32,cuda-fp16"
    result = run("benches", chosen, "--collect-only", "-q")
    assert result.returncode == 0, result.stdout
    assert "bench_cuda[cuda-fp16-b256]" in result.stdout
    assert "bench_latency[fp32-b1]" in result.stdout
    assert "bench_cuda[fp32" not in result.stdout
    assert "bench_latency[cuda" not in result.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="tells what is said without a GPU")
def test_without_a_gpu_its_benches_are_skipped_with_the_reason(run: Run, baseline: Path) -> None:
    result = run("benches/bench_cuda.py", "benches/bench_size.py", "-rs", VARIANTS + ",cuda-fp16")
    assert result.returncode == 0, result.stdout
    assert "2 passed, 4 skipped" in result.stdout
    assert "cuda-fp16: no NVIDIA GPU: run it on a machine with one" in result.stdout
