"""Command-line options, session fixtures and the gate, for `pytest benches` and `pytest tests`."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor

from qmodels import checkouts, data, gate, machine, report, resnet, training, variants
from qmodels.checkpoints import Checkpoint
from qmodels.data import Choice, Dataset, Split
from qmodels.errors import Unavailable, UserError
from qmodels.evaluation import predict
from qmodels.evaluation import ranks as ranks_of
from qmodels.gate import processes
from qmodels.gate.processes import Timings
from qmodels.gate.ranks import collect, flips, least_visible
from qmodels.gate.ranks import settled as settled_by
from qmodels.gate.sequential import Case, Rule
from qmodels.measure import accuracy
from qmodels.measure.child import HERE, Checkout
from qmodels.measure.latency import Side
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
    stops_early: bool
    base: Checkout | None
    update_baseline: bool
    require_baseline: bool
    baseline_path: Path
    baseline: gate.Baseline | None
    tolerances: gate.Tolerances


@dataclass
class Ledger:
    """What happened so far: benchmarks that ran or were left out, and what the gate found.

    It listens to pytest's reports, which also come from other processes (pytest-xdist).
    """

    benchmarks: list[dict[str, Any]] = field(default_factory=list)
    deselected: list[str] = field(default_factory=list)
    findings: list[gate.Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Of pytest: a part of a test is over."""
        measured = getattr(report, "qmodels", None)
        if measured is not None and report.when == "call":
            self.benchmarks.append(
                {"fullname": report.nodeid, "extra_info": measured["extra_info"]}
            )
            self.findings += [gate.Finding(*one) for one in measured["findings"]]
            self.notes += measured["notes"]

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Of pytest: these were not asked for."""
        self.deselected += [item.nodeid for item in items]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Of pytest-xdist: a worker is done; all of them deselect the same."""
        self.deselected += getattr(node, "workeroutput", {}).get("qmodels_deselected", [])


MEASURED = pytest.StashKey[dict[str, Any]]()
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
        help="test images at most, fewer where those seen answer the question; by default all up "
        "to width 16, 2000 above",
    )
    group.addoption(
        "--qmodels-base",
        metavar="REVISION|FOLDER",
        help="hold latencies against this code, run in turn with it, instead of the stored run",
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
    config.pluginmanager.register(config.stash[LEDGER], "qmodels-ledger")
    if not runs_benches(config):
        return
    swallowed = config.option.benchmark_compare
    if isinstance(swallowed, str) and Path(swallowed).is_dir():
        raise pytest.UsageError(
            f"--benchmark-compare took {swallowed!r} for a run: put it after the paths"
        )
    workers = os.environ.get("PYTEST_XDIST_WORKER_COUNT")
    if is_worker(config) and workers:
        # Threads of several processes that outnumber the cores starve one another.
        torch.set_num_threads(max(1, machine.physical_cores() // int(workers)))
    try:
        settings = read_settings(config)
    except UserError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[SETTINGS] = settings
    if config.option.benchmark_compare is True:
        stored = settings.baseline_path
        config.option.benchmark_compare = str(stored) if stored.exists() else []


def is_worker(config: pytest.Config) -> bool:
    """Whether this is one of the processes that pytest-xdist has started."""
    return hasattr(config, "workerinput")


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
    if option.qmodels_update_baseline:
        check_update(config)
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
        stops_early=option.qmodels_accuracy_images not in (None, "all"),
        base=checkouts.find(option.qmodels_base) if option.qmodels_base else None,
        update_baseline=option.qmodels_update_baseline,
        require_baseline=option.qmodels_require_baseline,
        baseline_path=path,
        baseline=gate.read_baseline(path, machine.machine_class()),
        tolerances=gate.read_tolerances(BASELINES, variants.all_variants()),
    )


def check_update(config: pytest.Config) -> None:
    """Refuse to store what would be a poor baseline."""
    option = config.option
    for given, name in (
        (option.qmodels_base, "--qmodels-base"),
        (option.qmodels_accuracy_images not in (None, "all"), "--qmodels-accuracy-images"),
        (option.benchmark_disable, "--benchmark-disable"),
        (config.getoption("numprocesses", None), "-n"),
    ):
        if given:
            raise UserError(
                f"--qmodels-update-baseline stores whole runs of this code alone: leave out {name}"
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
        f"latency: held against {held_against(settings)}",
    ]


def held_against(settings: Settings) -> str:
    """Which rule latencies are judged by."""
    if settings.base:
        return f"{settings.base.root}, in turn"
    if settings.baseline is None or settings.update_baseline:
        return "nothing"
    here = any(one.made.host == machine.host() for one in settings.baseline.entries.values())
    if here:
        return "the stored run of this host"
    return "a stored run of another host, with wide tolerances (--qmodels-base has narrow ones)"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    settings = metafunc.config.stash.get(SETTINGS, None)
    if "variant" in metafunc.fixturenames and settings is not None:
        metafunc.parametrize("variant", settings.variants, indirect=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Show errors that are the user's to mend as their one line."""
    outcome = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, UserError):
        outcome.longrepr = str(call.excinfo.value)
    if call.when == "call" and MEASURED in item.stash:
        outcome.qmodels = item.stash[MEASURED]
    return outcome


# Session fixtures: data set, checkpoint, artifacts, fp32's logits, latencies.


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
def reference(
    fp32: Runnable, dataset: Dataset, evaluated: Split
) -> Callable[[Variant, Tensor], Tensor]:
    """fp32's logits for the images that a variant's logits are of."""
    known = [torch.empty(0)]

    def of(variant: Variant, logits: Tensor) -> Tensor:
        if variant.name == "fp32":
            known[0] = logits
        elif len(known[0]) < len(logits):
            known[0] = predict(fp32, dataset, evaluated.first(len(logits)).images)
        return known[0][: len(logits)]

    return of


@pytest.fixture(scope="session")
def made(pytestconfig: pytest.Config) -> dict[str, Any]:
    """Who makes this run's numbers."""
    hook = pytestconfig.hook
    commit = hook.pytest_benchmark_generate_commit_info(config=pytestconfig)
    sha = str(commit.get("id", "unknown"))[:12]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": sha + ("-dirty" if commit.get("dirty") else ""),
        "host": machine.host(),
        "versions": machine.versions(),
    }


@pytest.fixture(scope="session")
def describe(
    settings: Settings, checkpoint: Checkpoint, made: dict[str, Any]
) -> Callable[..., dict[str, Any]]:
    """What a benchmark was measured under, as in its ``extra_info``."""

    def described(variant: Variant, *, batch_size: int, threads: int | str) -> dict[str, Any]:
        return {
            "variant": variant.name,
            "engine": variant.engine,
            "architecture": settings.architecture,
            "width": settings.width,
            "dataset": settings.dataset.name,
            "machine_class": machine.machine_class(),
            "threads": threads,
            "batch_size": batch_size,
            "checkpoint": checkpoint.sha256[:16],
            "versions": made["versions"],
            "made": made,
        }

    return described


@pytest.fixture(scope="session")
def latencies(
    request: pytest.FixtureRequest,
    pytestconfig: pytest.Config,
    settings: Settings,
    build: Callable[[str], Artifact],
    checkpoint: Checkpoint,
    describe: Callable[..., dict[str, Any]],
) -> Callable[[str, int], Timings]:
    """Latencies of all cases that this session asks for, measured together at the first call."""

    def asked() -> dict[Case, str]:
        """Node ids of the benches to come, by case."""
        found = {}
        for item in request.session.items:
            if "latencies" in getattr(item, "fixturenames", ()):
                parameters = item.callspec.params  # type: ignore[attr-defined]
                variant = variants.all_variants()[parameters["variant"]]
                if not variant.missing():
                    found[variant.name, parameters["batch_size"]] = item.nodeid
        return found

    def rules(nodes: dict[Case, str], base: Side | None) -> dict[Case, Rule]:
        """How each case is judged, where there is something to hold it against."""
        found = {}
        for (name, size), nodeid in nodes.items():
            if base:
                rule = processes.rule_beside(name, settings.tolerances)
            else:
                variant = variants.all_variants()[name]
                facts = describe(variant, batch_size=size, threads=settings.threads)
                now = gate.entry({**facts, "metrics": {}})
                rule = processes.rule_stored(nodeid, now, settings.baseline, settings.tolerances)
            if rule is not None:
                found[name, size] = rule
        return found

    @cache
    def measured() -> dict[Case, Timings]:
        nodes = asked()
        folders = {}
        for name in dict.fromkeys(["fp32", *(name for name, _ in nodes)]):
            with suppress(Unavailable):
                folders[name] = str(build(name).folder)
        head = Side(HERE, {"artifacts": folders})
        found: dict[Case, Timings] = {}
        with users_to_mend(pytestconfig), Console(stderr=True).status("latencies, in turn"):
            base_folders = {}
            if settings.base:
                base_folders = checkouts.artifacts(settings.base, checkpoint, list(folders))
            # What is new has no base, and is held against the stored run.
            for known in (True, False):
                some = {
                    case: node
                    for case, node in nodes.items()
                    if case[0] in folders and (case[0] in base_folders) == known
                }
                if not some:
                    continue
                base = Side(settings.base, {"artifacts": base_folders}) if known else None
                found |= processes.measure(
                    list(some),
                    head,
                    base,
                    rules(some, base),
                    settings.threads,
                    to_store=settings.update_baseline,
                )
        return found

    def of(name: str, batch_size: int) -> Timings:
        if pytestconfig.option.benchmark_disable:
            pytest.skip("latency is not measured under --benchmark-disable")
        if is_worker(pytestconfig):
            pytest.skip("latency can't share the machine: run it without -n")
        return measured()[name, batch_size]

    return of


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
def settled(
    request: pytest.FixtureRequest,
    settings: Settings,
    variant: Variant,
    dataset: Dataset,
    evaluated: Split,
) -> Callable[[Tensor], bool] | None:
    """Whether logits of the first images answer the gate's question; None where all are wanted."""
    if not settings.stops_early or settings.baseline is None:
        return None
    before = settings.baseline.entries.get(request.node.nodeid)
    if before is None or before.ranks is None:
        return None
    stored = before.ranks
    looks = accuracy.looks(len(evaluated))

    def answered(logits: Tensor) -> bool:
        seen = evaluated.first(len(logits))
        now = collect(dataset.test, seen, ranks_of(logits, seen.labels))
        return now.images == stored.images and all(
            settled_by(
                flips(now, stored, metric),
                settings.tolerances.of(metric, variant.name) or 0.0,
                settings.tolerances.level(metric, variant.name) / looks,
            )
            for metric in ("top1", "top5_error")
        )

    return answered


@pytest.fixture
def record(
    request: pytest.FixtureRequest,
    benchmark: Any,
    settings: Settings,
    variant: Variant,
    dataset: Dataset,
    describe: Callable[..., dict[str, Any]],
) -> Callable[..., None]:
    """Write metrics into the run record, and hold them against the baseline."""

    def write(
        metrics: dict[str, Metric],
        *,
        batch_size: int,
        threads: int | str,
        ranks: tuple[Split, Tensor] | None = None,
        **details: object,
    ) -> None:
        limited = {
            name: replace(metric, tolerance=settings.tolerances.of(name, variant.name))
            for name, metric in metrics.items()
        }
        extra_info = {
            **describe(variant, batch_size=batch_size, threads=threads),
            **details,
            "metrics": {name: metric.as_record() for name, metric in limited.items()},
        }
        notes = []
        if ranks is not None:
            kept = collect(dataset.test, *ranks)
            extra_info["ranks"] = kept.as_record()
            notes = unseen(variant.name, len(ranks[0]), len(dataset.test), settings)
        benchmark.extra_info.update(extra_info)
        nodeid = request.node.nodeid
        found = []
        if not settings.update_baseline:
            now = gate.entry(extra_info)
            found = gate.compare(nodeid, now, settings.baseline, settings.tolerances)
        # In plain types: it may have to go to another process.
        request.node.stash[MEASURED] = json.loads(
            json.dumps(
                {"extra_info": extra_info, "findings": found, "notes": notes}, default=astuple
            )
        )
        fatal = ("regressed", "missing") if settings.require_baseline else ("regressed",)
        lines = [finding.line for finding in found if finding.verdict in fatal]
        if lines:
            pytest.fail("\n".join(lines), pytrace=False)

    return write


def unseen(name: str, seen: int, whole: int, settings: Settings) -> list[str]:
    """What an evaluation of a part of the images could not have shown."""
    if seen == whole:
        return []
    least = least_visible(seen, settings.tolerances.level("top1", name))
    early = " (the answer was clear by then)" if seen < (settings.accuracy_images or 0) else ""
    return [
        f"accuracy of {name}: {seen} of {whole} images{early}; on so many, a loss of less than "
        f"{least:.2f} points can't be told from chance"
    ]


# The end of the session: what is missing, the new baseline, the table.


def pytest_benchmark_generate_machine_info(config: pytest.Config) -> dict[str, Any]:
    """What results depend on; pytest-benchmark's own names the host."""
    return {"machine_class": machine.machine_class(), "versions": machine.versions()}


def pytest_sessionfinish(session: pytest.Session) -> None:
    settings = session.config.stash.get(SETTINGS, None)
    if settings is None or session.config.option.collectonly:
        return
    ledger = session.config.stash[LEDGER]
    if is_worker(session.config):
        output = session.config.workeroutput  # type: ignore[attr-defined]
        output["qmodels_deselected"] = ledger.deselected
        return
    problems = []
    if not ledger.benchmarks:
        problems.append("no bench was measured")
    gone = gate.vanished(
        settings.baseline,
        ran=[one["fullname"] for one in ledger.benchmarks],
        excused=excused(session.config, settings, ledger),
    )
    if gone and (session.shouldfail or session.shouldstop):
        ledger.notes.append(f"stopped early: {len(gone)} benches were not measured")
    elif gone and session.config.option.lf:
        ledger.notes.append(f"--lf: {len(gone)} benches of the baseline were left out")
    else:
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
        kept = gate.accept(settings.baseline_path, run)
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
    if ledger.findings:
        terminalreporter.write_line(f"gate: {report.counted(ledger.findings)}")
    for finding in ledger.findings:
        if finding.verdict == "improved":
            terminalreporter.write_line(finding.line)
    missing = [finding.line for finding in ledger.findings if finding.verdict == "missing"]
    if missing and not settings.require_baseline:
        terminalreporter.write_line(
            f"{len(missing)} metrics were held against nothing: {missing[0]}"
        )
    for note in ledger.notes:
        terminalreporter.write_line(note)
