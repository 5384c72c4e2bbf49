"""Hooks of every pytest session: options, and the start of the harness at the first bench.

A bench is a function that asks for one of the fixtures here. Before the first bench, nothing is
imported that takes time.
"""

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from qmodels.harness.options import add_options
from qmodels.system.errors import UserError, refused

if TYPE_CHECKING:  # it imports torch
    from qmodels.harness.hooks import Harness

_HARNESS = pytest.StashKey["Harness | UserError"]()
# In a checkout that is a link to the folder at the top.
BENCHES = Path(__file__).parents[1] / "benches"


def is_bench(item: object) -> bool:
    """Whether a test, or the metafunc of one, asks for a fixture of qmodels."""
    return any(name.startswith("qmodels_") for name in getattr(item, "fixturenames", ()))


def _start(config: pytest.Config) -> "Harness | UserError":
    """The harness of a session, or what is wrong with the options; made at the first bench."""
    if _HARNESS not in config.stash:
        from qmodels.harness.hooks import Harness

        try:
            harness = Harness(config)
        except UserError as error:
            config.stash[_HARNESS] = error
        except OSError as error:
            config.stash[_HARNESS] = UserError(refused(error))
        else:
            config.stash[_HARNESS] = harness
            config.pluginmanager.register(harness, "qmodels-harness")
    return config.stash[_HARNESS]


def harness_of(config: pytest.Config) -> "Harness":
    """The harness of a session whose options are right."""
    harness = config.stash[_HARNESS]
    assert not isinstance(harness, UserError)
    return harness


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the options."""
    add_options(parser)


@pytest.hookimpl(tryfirst=True)  # before pytest-benchmark reads its options
def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; have a bare ``--benchmark-compare`` wait for the benches."""
    config.addinivalue_line(
        "markers", "qmodels_processor(kind): of benches of what runs on the cpu, or the gpu, alone"
    )
    config.option.qmodels_compare = getattr(config.option, "benchmark_compare", None) is True
    if config.option.qmodels_compare:
        config.option.benchmark_compare = []


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Have pytest-benchmark compare with the stored run, or without benches with its own last."""
    harness = session.config.stash.get(_HARNESS, None)
    if isinstance(harness, UserError):
        return
    plugin: Any = getattr(session.config, "_benchmarksession", None)
    if session.config.option.qmodels_compare:
        if harness and harness.alone:
            harness.load_stored_times()
        else:
            plugin.compare = True
            plugin.handle_loading()
    # It would say so after the run.
    if harness and plugin.compare_fail and not plugin.compared_mapping:
        raise pytest.UsageError(
            "--benchmark-compare-fail has no run to compare with: name one by --benchmark-compare, "
            "or leave it out"
        )


class _BenchModule(pytest.Module):
    """A module of ``qmodels.benches``, collected whatever names a repository gives to its tests."""

    def funcnamefilter(self, name: str) -> bool:
        return name.startswith("bench_")


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(
    file_path: Path, parent: pytest.Collector
) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Collect the packaged benches without configuration."""
    collectors = yield
    if file_path.name.startswith("bench_") and file_path.parent.resolve() == BENCHES.resolve():
        return [_BenchModule.from_parent(parent, path=file_path)]
    return collectors


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a bench for each variant that the bench's processor executes."""
    if not is_bench(metafunc):
        return
    if hasattr(metafunc.config, "workerinput"):
        raise pytest.Collector.CollectError(
            "benches measure one after another, in one process: leave out -n"
        )
    harness = _start(metafunc.config)
    networks = [] if isinstance(harness, UserError) else list(harness.runs)
    if len(networks) > 1 and "qmodels_session" in metafunc.fixturenames:
        metafunc.parametrize("qmodels_session", networks, indirect=True, scope="session")
    if "qmodels_variant" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("qmodels_processor")
        processor = marker.args[0] if marker else None
        names = [] if isinstance(harness, UserError) else harness.chosen(processor)
        metafunc.parametrize("qmodels_variant", names, indirect=True)


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem(collector: pytest.Collector) -> Generator[None, Any, Any]:
    """Show the harness every bench that there is; the command line may choose some of them."""
    items = yield
    if isinstance(items, list) and items and is_bench(items[0]):
        harness = _start(collector.config)
        if not isinstance(harness, UserError):
            for item in items:
                harness.run_of(item).benches.append(item)
    return items


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config) -> None:
    """End a session with benches whose options are wrong."""
    error = config.stash.get(_HARNESS, None)
    if isinstance(error, UserError):
        raise pytest.UsageError(str(error))
