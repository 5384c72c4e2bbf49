"""Command-line options, session fixtures and the gate, for `pytest benches` and `pytest tests`."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from qmodels import data, gate, machine, report, resnet, training, variants
from qmodels.checkpoints import Checkpoint
from qmodels.data import Choice, Dataset, Split
from qmodels.errors import Unavailable, UserError
from qmodels.metric import Metric
from qmodels.variants import Artifact, Runnable, Variant

ROOT = Path(__file__).parent
BASELINES = ROOT / "baselines"
# Wider networks take minutes for the whole test set on two cores.
WHOLE_TEST_SET_WIDTH = 16
IMAGES_OF_WIDE_NETWORKS = 2000


@dataclass(frozen=True)
class Settings:
    """What this run measures, from the command line."""

    dataset: Choice
    architecture: str
    width: int
    variants: tuple[str, ...]
    threads: int
    accuracy_images: int | None
    update_baseline: bool
    require_baseline: bool
    baseline_path: Path
    baseline: gate.Baseline | None


@dataclass
class Ledger:
    """What happened so far: benchmarks that ran or were left out, and what the gate found."""

    benchmarks: list[dict[str, Any]] = field(default_factory=list)
    deselected: list[str] = field(default_factory=list)
    findings: list[gate.Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


SETTINGS = pytest.StashKey[Settings]()
LEDGER = pytest.StashKey[Ledger]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("qmodels", "qmodels: what quantizing a network costs and buys")
    group.addoption(
        "--qmodels-dataset",
        default="auto",
        metavar="auto|cifar100|digits",
        help="auto (the default): CIFAR-100 on disk or to be downloaded, else the digits",
    )
    group.addoption(
        "--qmodels-architecture",
        default="resnet34",
        metavar="|".join(resnet.ARCHITECTURES),
        help="resnet34 by default",
    )
    group.addoption(
        "--qmodels-width", type=int, help="channels of the stem: 8 for digits, 16 for CIFAR-100"
    )
    group.addoption("--qmodels-variants", metavar="A,B,...", help="only these variants")
    group.addoption(
        "--qmodels-threads", type=int, default=1, help="for latency and memory; 1 by default"
    )
    group.addoption(
        "--qmodels-accuracy-images",
        metavar="N|all",
        help="test images: all up to width 16, 2000 above, by default",
    )
    group.addoption(
        "--qmodels-update-baseline",
        action="store_true",
        help="accept: store this run as the baseline of this machine class",
    )
    group.addoption(
        "--qmodels-require-baseline",
        action="store_true",
        default=bool(os.environ.get("CI")),
        help="fail where the baseline has no entry or a bench did not run; on where CI is set",
    )


@pytest.hookimpl(tryfirst=True)  # before pytest-benchmark reads --benchmark-compare
def pytest_configure(config: pytest.Config) -> None:
    config.stash[LEDGER] = Ledger()
    if not runs_benches(config):
        return
    swallowed = config.option.benchmark_compare
    if isinstance(swallowed, str) and Path(swallowed).is_dir():
        raise pytest.UsageError(
            f"--benchmark-compare took {swallowed!r} for a run: put it after the paths"
        )
    if config.getoption("numprocesses", None):
        raise pytest.UsageError("benches measure time and can't share the machine: leave out -n")
    try:
        settings = read_settings(config)
    except UserError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[SETTINGS] = settings
    if config.option.benchmark_compare is True:
        stored = settings.baseline_path
        config.option.benchmark_compare = str(stored) if stored.exists() else []


def runs_benches(config: pytest.Config) -> bool:
    """Whether the paths of the command line lead to benches."""
    benches = ROOT / "benches"
    for argument in config.args:
        path = (config.invocation_params.dir / argument.partition("::")[0]).resolve()
        if path == benches or benches in path.parents or path in benches.parents:
            return True
    return False


def read_settings(config: pytest.Config) -> Settings:
    """Check the options, and find the baseline they ask for."""
    option = config.option
    dataset = data.choose(option.qmodels_dataset)
    width = option.qmodels_width
    if width is None:
        width = training.DEFAULT_WIDTH[dataset.name]
    resnet.check(option.qmodels_architecture, width)
    if option.qmodels_threads < 1:
        raise UserError(f"--qmodels-threads {option.qmodels_threads}: choose 1 or more")
    path = gate.baseline_path(
        BASELINES, machine.machine_class(), dataset.name, option.qmodels_architecture, width
    )
    return Settings(
        dataset=dataset,
        architecture=option.qmodels_architecture,
        width=width,
        variants=tuple(variant.name for variant in variants.select(option.qmodels_variants)),
        threads=option.qmodels_threads,
        accuracy_images=accuracy_images(option.qmodels_accuracy_images, width),
        update_baseline=option.qmodels_update_baseline,
        require_baseline=option.qmodels_require_baseline,
        baseline_path=path,
        baseline=gate.read_baseline(path, machine.machine_class()),
    )


def accuracy_images(option: str | None, width: int) -> int | None:
    """How many test images to evaluate; None for all of them."""
    if option is None:
        return None if width <= WHOLE_TEST_SET_WIDTH else IMAGES_OF_WIDE_NETWORKS
    if option == "all":
        return None
    if not option.isdigit() or int(option) < 1:
        raise UserError(f"--qmodels-accuracy-images {option}: choose a number from 1, or all")
    return int(option)


def pytest_report_header(config: pytest.Config) -> list[str]:
    settings = config.stash.get(SETTINGS, None)
    if settings is None:
        return []
    stored = settings.baseline_path.relative_to(ROOT)
    return [
        f"qmodels: {settings.dataset.name} ({settings.dataset.reason}), {settings.architecture} "
        f"width {settings.width}, {machine.machine_class()}, threads {settings.threads}",
        f"baseline: {stored}" if settings.baseline else f"baseline: none yet in {stored}",
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    settings = metafunc.config.stash.get(SETTINGS, None)
    if "variant" in metafunc.fixturenames and settings is not None:
        metafunc.parametrize("variant", settings.variants, indirect=True)


def pytest_deselected(items: list[pytest.Item]) -> None:
    for item in items:
        item.config.stash[LEDGER].deselected.append(item.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Show errors that are the user's to mend as their one line."""
    outcome = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, UserError):
        outcome.longrepr = str(call.excinfo.value)
    return outcome


# Session fixtures: data set, checkpoint, artifacts, fp32 reference.


@contextmanager
def users_to_mend(config: pytest.Config) -> Iterator[None]:
    """Show progress while a fixture works, and end the session in one line where it can't."""
    capture = config.pluginmanager.getplugin("capturemanager")
    try:
        with capture.global_and_fixture_disabled():
            yield
    except Unavailable:
        raise
    except UserError as error:
        pytest.exit(f"qmodels: {error}", returncode=2)


@pytest.fixture(scope="session")
def settings(pytestconfig: pytest.Config) -> Settings:
    """The options of this run."""
    return pytestconfig.stash[SETTINGS]


@pytest.fixture(scope="session")
def dataset(pytestconfig: pytest.Config, settings: Settings) -> Dataset:
    """The data set that ``--qmodels-dataset`` names."""
    with users_to_mend(pytestconfig):
        return data.load(settings.dataset.name)


@pytest.fixture(scope="session")
def checkpoint(pytestconfig: pytest.Config, settings: Settings, dataset: Dataset) -> Checkpoint:
    """The trained weights: from the cache, else shipped, else trained now where that is quick."""
    with users_to_mend(pytestconfig):
        return training.find_or_train(
            dataset, settings.architecture, settings.width, console=Console(stderr=True)
        )


@pytest.fixture(scope="session")
def build(
    pytestconfig: pytest.Config, checkpoint: Checkpoint, dataset: Dataset
) -> Callable[[str], Artifact]:
    """Build a variant by name, or find it in the cache."""

    @cache
    def built(name: str) -> Artifact:
        with users_to_mend(pytestconfig):
            return variants.build(
                variants.all_variants()[name], checkpoint, dataset, console=Console(stderr=True)
            )

    return built


@pytest.fixture(scope="session")
def fp32(build: Callable[[str], Artifact]) -> Runnable:
    """The float model that ratios and drops are against."""
    return build("fp32").load()


@pytest.fixture(scope="session")
def evaluated(settings: Settings, dataset: Dataset) -> Split:
    """The test images that accuracy is measured on: all, or a stratified subset."""
    if settings.accuracy_images is None:
        return dataset.test
    return data.stratified_subset(dataset.test, min(settings.accuracy_images, len(dataset.test)))


@pytest.fixture(scope="session")
def fp32_logits() -> dict[str, torch.Tensor]:
    """Where the first bench that needs fp32's logits leaves them for the others."""
    return {}


# For each benchmark.


@pytest.fixture
def variant(request: pytest.FixtureRequest) -> Variant:
    """The variant under measurement; skips where this machine can't run it."""
    chosen = variants.all_variants()[request.param]
    missing = chosen.missing()
    if missing:
        pytest.skip(f"{chosen.name}: {missing}")
    return chosen


@pytest.fixture
def artifact(variant: Variant, build: Callable[[str], Artifact]) -> Artifact:
    """Its artifact, built where it is not in the cache."""
    try:
        return build(variant.name)
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def record(
    request: pytest.FixtureRequest,
    benchmark: Any,
    settings: Settings,
    variant: Variant,
    checkpoint: Checkpoint,
) -> Callable[..., None]:
    """Write metrics into the run record, and hold them against the baseline."""

    def write(
        metrics: dict[str, Metric], *, batch_size: int, threads: int | str, **details: object
    ) -> None:
        extra_info = {
            "variant": variant.name,
            "engine": variant.engine,
            "architecture": settings.architecture,
            "width": settings.width,
            "dataset": settings.dataset.name,
            "machine_class": machine.machine_class(),
            "threads": threads,
            "batch_size": batch_size,
            "checkpoint": checkpoint.sha256[:16],
            "versions": machine.versions(),
            **details,
            "metrics": {name: metric.as_record() for name, metric in metrics.items()},
        }
        benchmark.extra_info.update(extra_info)
        ledger = request.config.stash[LEDGER]
        nodeid = request.node.nodeid
        ledger.benchmarks.append({"fullname": nodeid, "extra_info": extra_info})
        if settings.update_baseline:
            return
        found = gate.compare(nodeid, gate.entry(extra_info), settings.baseline)
        ledger.findings.extend(found)
        fatal = ("regressed", "missing") if settings.require_baseline else ("regressed",)
        lines = [finding.line for finding in found if finding.verdict in fatal]
        if lines:
            pytest.fail("\n".join(lines), pytrace=False)

    return write


# The end of the session: what is missing, the new baseline, the table.


def pytest_benchmark_generate_machine_info(config: pytest.Config) -> dict[str, Any]:
    """What results depend on; pytest-benchmark's own names the host."""
    return {"machine_class": machine.machine_class(), "versions": machine.versions()}


def pytest_sessionfinish(session: pytest.Session) -> None:
    settings = session.config.stash.get(SETTINGS, None)
    if settings is None or session.config.option.collectonly:
        return
    ledger = session.config.stash[LEDGER]
    problems = []
    if not ledger.benchmarks:
        problems.append("no bench was measured")
    gone = gate.vanished(
        settings.baseline,
        ran=[one["fullname"] for one in ledger.benchmarks],
        excused=excused(session.config, settings, ledger),
    )
    problems += [f"{name} is in the baseline and was not measured" for name in gone]
    passed = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    if settings.update_baseline:
        ledger.notes.append(update_baseline(session, settings, ledger, passed, gone))
    elif settings.require_baseline and problems:
        ledger.notes += [f"FAILED {problem}" for problem in problems]
        if passed:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
    else:
        ledger.notes += problems


def excused(config: pytest.Config, settings: Settings, ledger: Ledger) -> list[str]:
    """Benchmarks of the baseline that this command line did not ask for."""
    if settings.baseline is None:
        return []
    asked = [
        os.path.relpath(config.invocation_params.dir / argument, config.rootpath)
        for argument in config.args
    ]
    return ledger.deselected + [
        name
        for name, entry in settings.baseline.entries.items()
        if entry.variant not in settings.variants
        or not any(path == "." or name.startswith(path) for path in asked)
    ]


def update_baseline(
    session: pytest.Session, settings: Settings, ledger: Ledger, passed: bool, gone: list[str]
) -> str:
    """Store the run, and say in a line what was written or why nothing was."""
    stored = settings.baseline_path.relative_to(ROOT)
    plugin = session.config._benchmarksession  # type: ignore[attr-defined]
    if not passed:
        return f"baseline not updated: this run failed; {stored} is as it was"
    if not plugin.benchmarks:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return f"baseline not updated: nothing was measured; {stored} is as it was"
    hook = session.config.hook
    run = hook.pytest_benchmark_generate_json(
        config=session.config,
        benchmarks=plugin.benchmarks,
        include_data=False,
        machine_info=plugin.get_machine_info(),
        commit_info=hook.pytest_benchmark_generate_commit_info(config=session.config),
    )
    try:
        kept = gate.write_baseline(settings.baseline_path, run)
    except UserError as error:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return f"baseline not updated: {error}"
    partial = f"; partial run: {kept} other entries kept as they were" if kept else ""
    return f"baseline updated: {stored}, {len(run['benchmarks'])} entries{partial}"


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> Iterator[None]:
    yield  # pytest-benchmark's tables first: the last thing on the screen is the verdict
    settings = config.stash.get(SETTINGS, None)
    ledger = config.stash[LEDGER]
    if settings is None or not (ledger.benchmarks or ledger.notes):
        return
    of = f"{settings.dataset.name}, {settings.architecture} width {settings.width}"
    terminalreporter.section(f"qmodels: {of} (change against the baseline)")
    stored = settings.baseline.entries if settings.baseline else {}
    if ledger.benchmarks:
        summary = report.summarize({"benchmarks": ledger.benchmarks}, stored)
        terminalreporter.write_line(report.markdown(summary))
    counts = {
        verdict: sum(finding.verdict == verdict for finding in ledger.findings)
        for verdict in ("ok", "regressed", "improved", "missing")
    }
    if ledger.findings:
        shown = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        terminalreporter.write_line(f"gate: {shown}")
    for finding in ledger.findings:
        if finding.verdict == "improved":
            terminalreporter.write_line(finding.line)
    if counts["missing"] and not settings.require_baseline:
        terminalreporter.write_line(
            f"{counts['missing']} metrics were held against nothing: "
            + next(one.line for one in ledger.findings if one.verdict == "missing")
        )
    for note in ledger.notes:
        terminalreporter.write_line(note)
