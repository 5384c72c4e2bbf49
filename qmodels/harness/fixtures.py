"""The fixtures of benches. Importing this takes no time."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from qmodels.harness.plugin import harness_of
from qmodels.system.errors import Unavailable, UserError

if TYPE_CHECKING:  # these import torch
    from pytest_benchmark.fixture import BenchmarkFixture

    from qmodels.gate.latency import Timings
    from qmodels.harness.records import Record, Recorder
    from qmodels.harness.session import BenchSession
    from qmodels.variants import Artifact, Variant


@pytest.fixture(scope="session")
def qmodels_session(request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> "BenchSession":
    """One network that the command line names, with its settings and artifacts."""
    harness = harness_of(pytestconfig)
    session = harness.runs[getattr(request, "param", harness.settings.network.name)].session
    with harness.exit_on_user_error():
        # Without these no bench can run.
        session.network  # noqa: B018
    return session


@pytest.fixture(scope="session")
def qmodels_recorder(qmodels_session: "BenchSession", pytestconfig: pytest.Config) -> "Recorder":
    """Describes benchmarks, and compares them with the baseline."""
    return harness_of(pytestconfig).runs[qmodels_session.settings.network.name].recorder


@pytest.fixture
def qmodels_variant(request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> "Variant":
    """The variant under measurement; skips where this machine can't run it."""
    variant = harness_of(pytestconfig).variants[request.param]
    reason = variant.unavailable_reason()
    if reason:
        pytest.skip(f"{variant.name}: {reason}")
    return variant


@pytest.fixture
def qmodels_artifact(
    qmodels_variant: "Variant", qmodels_session: "BenchSession", pytestconfig: pytest.Config
) -> "Artifact":
    """The variant's artifact, built where it is not in the cache."""
    capture: Any = pytestconfig.pluginmanager.getplugin("capturemanager")
    try:
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            return qmodels_session.build(qmodels_variant.name)
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def qmodels_record(
    request: pytest.FixtureRequest,
    benchmark: "BenchmarkFixture",
    qmodels_variant: "Variant",
    qmodels_recorder: "Recorder",
) -> "Record":
    """Writes metrics into the run record, and compares them with the baseline."""
    from qmodels.harness.records import Record

    return Record(qmodels_recorder, request.node, benchmark, qmodels_variant)


@pytest.fixture(scope="session")
def qmodels_latencies(
    pytestconfig: pytest.Config, qmodels_session: "BenchSession"
) -> Callable[[str, int], "Timings"]:
    """Times by variant and batch size; all cases are measured together at the first call."""
    run = harness_of(pytestconfig).runs[qmodels_session.settings.network.name]

    def timings(name: str, batch_size: int) -> "Timings":
        if run.settings.untimed:
            pytest.skip("latency is not measured under --benchmark-disable")
        timings = run.latencies[name, batch_size]
        if isinstance(timings, UserError):
            raise timings
        return timings

    return timings


@pytest.fixture
def qmodels_externally_timed(
    benchmark: "BenchmarkFixture",
) -> Callable[[Sequence[float]], None]:
    """Tells pytest-benchmark seconds that other processes or a GPU took.

    For benches whose marker has ``timer=REPLAY.timer``: a clock that only what is told moves.
    """
    from qmodels.measure.replay import REPLAY

    def play(seconds: Sequence[float]) -> None:
        REPLAY.play(seconds)
        benchmark.pedantic(  # type: ignore[no-untyped-call]
            REPLAY.forward, rounds=len(seconds)
        )

    return play
