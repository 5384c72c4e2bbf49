"""The fixtures of benches."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from qmodels import gate, variants
from qmodels.gate.latency import Timings
from qmodels.gate.sequential import Case
from qmodels.harness.latencies import Latencies
from qmodels.harness.options import SETTINGS, is_worker
from qmodels.harness.progress import PROGRESS
from qmodels.harness.records import Record, Recorder
from qmodels.harness.session import BenchSession, exit_on_user_error
from qmodels.measure.replay import REPLAY
from qmodels.system.errors import Unavailable, UserError
from qmodels.variants import Artifact, Variant


@pytest.fixture(scope="session")
def qmodels_session(pytestconfig: pytest.Config) -> BenchSession:
    """What the command line asks for: settings, data set, checkpoint, artifacts.

    Raises:
        UserError: pytest's root directory is not the one that holds the benches.
    """
    if SETTINGS not in pytestconfig.stash:
        raise UserError(
            f"there is no {pytestconfig.rootpath / 'benches'}: leave out --rootdir, or name the "
            "folder that holds benches/"
        )
    session = BenchSession(pytestconfig.stash[SETTINGS], pytestconfig.stash[PROGRESS])
    with exit_on_user_error(pytestconfig):
        # Without these no bench can run.
        session.dataset, session.checkpoint  # noqa: B018
    return session


@pytest.fixture(scope="session")
def qmodels_recorder(qmodels_session: BenchSession, pytestconfig: pytest.Config) -> Recorder:
    """Describes benchmarks, and compares them with the baseline."""
    return Recorder(qmodels_session, pytestconfig)


@pytest.fixture
def qmodels_variant(request: pytest.FixtureRequest) -> Variant:
    """The variant under measurement; skips where this machine can't run it."""
    variant = variants.all_variants()[request.param]
    reason = variant.unavailable_reason()
    if reason:
        pytest.skip(f"{variant.name}: {reason}")
    return variant


@pytest.fixture
def qmodels_artifact(
    qmodels_variant: Variant, qmodels_session: BenchSession, pytestconfig: pytest.Config
) -> Artifact:
    """The variant's artifact, built where it is not in the cache."""
    capture: Any = pytestconfig.pluginmanager.getplugin("capturemanager")
    try:
        if capture is None:
            return qmodels_session.build(qmodels_variant.name)
        with capture.global_and_fixture_disabled():
            return qmodels_session.build(qmodels_variant.name)
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def qmodels_record(
    request: pytest.FixtureRequest,
    benchmark: BenchmarkFixture,
    qmodels_variant: Variant,
    qmodels_recorder: Recorder,
) -> Record:
    """Writes metrics into the run record, and compares them with the baseline."""
    return Record(qmodels_recorder, request.node, benchmark, qmodels_variant)


@pytest.fixture(scope="session")
def qmodels_latencies(
    request: pytest.FixtureRequest,
    pytestconfig: pytest.Config,
    qmodels_session: BenchSession,
    qmodels_recorder: Recorder,
) -> Callable[[str, int], Timings]:
    """Times by variant and batch size; all cases are measured together at the first call."""

    @cache
    def measured() -> dict[Case, Timings]:
        entries = latency_entries(request.session, qmodels_recorder)
        with exit_on_user_error(pytestconfig):
            return Latencies(qmodels_session, entries).measure()

    def timings(name: str, batch_size: int) -> Timings:
        if pytestconfig.option.benchmark_disable:
            pytest.skip("latency is not measured under --benchmark-disable")
        if is_worker(pytestconfig):
            pytest.skip("latency can't share the machine: run it without -n")
        timings = measured()[name, batch_size]
        if timings.failure is not None:
            raise UserError(timings.failure)
        return timings

    return timings


def latency_entries(session: pytest.Session, recorder: Recorder) -> dict[Case, gate.Entry]:
    """The benches of a session that will ask for latencies, without metrics, by case."""
    entries: dict[Case, gate.Entry] = {}
    for item in session.items:
        if not isinstance(item, pytest.Function) or "qmodels_latencies" not in item.fixturenames:
            continue
        parameters: dict[str, Any] = item.callspec.params
        name, batch_size = parameters["qmodels_variant"], parameters["batch_size"]
        variant = variants.all_variants()[name]
        if variant.unavailable_reason():
            continue
        entries[name, batch_size] = recorder.entry(
            variant, item, batch_size=batch_size, threads=recorder.session.settings.threads
        )
    return entries


@pytest.fixture
def qmodels_externally_timed(benchmark: BenchmarkFixture) -> Callable[[Sequence[float]], None]:
    """Tells pytest-benchmark seconds that other processes or a GPU took.

    For benches whose marker has ``timer=REPLAY.timer``: a clock that only what is told moves.
    """

    def play(seconds: Sequence[float]) -> None:
        REPLAY.play(seconds)
        benchmark.pedantic(  # type: ignore[no-untyped-call]
            REPLAY.forward, rounds=len(seconds)
        )

    return play
