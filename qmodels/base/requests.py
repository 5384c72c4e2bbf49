"""Ask a base to quantize a network, and to measure it."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from qmodels import benches
from qmodels.base.checkouts import Base
from qmodels.base.protocol import connect
from qmodels.gate import Run, read_run
from qmodels.network import Network
from qmodels.system import store, worker

_RECORD = "run.json"
# For all variants of a wide network. What takes longer hangs.
_BUILD_SECONDS, _MEASURE_SECONDS = 4 * 3600.0, 12 * 3600.0


class _NotKept(Exception):
    """A run with a failed bench, on its way out of the cache."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run


@dataclass(frozen=True)
class BuildResult:
    """By variant, folders of artifacts, and the lines of failures.

    Variants that the base does not know are in neither.
    """

    folders: Mapping[str, str]
    failures: Mapping[str, str]


def build(base: Base, network: Network, names: Sequence[str]) -> BuildResult:
    """Quantize the network that a function gives in a base.

    Args:
        names: of variants; those that it does not know are left out.
    """
    known = [name for name in names if name in base.hello.variants]
    if not known:
        return BuildResult({}, {})
    request = {"request": "build", "network": asdict(network.call), "variants": known}
    with connect(base.code) as (process, _):
        return process.ask(BuildResult, request, timeout=_BUILD_SECONDS)


def measure(
    base: Base,
    network: Network,
    names: Sequence[str],
    files: Iterable[Path],
    *,
    threads: int,
    accuracy_images: str | None,
) -> Run:
    """The run of a base's own benches, without latency.

    Of a commit it is measured once, then cached. A run with a failed bench is not kept, because
    the cause may be this machine.

    Args:
        files: of benches here; those that it does not have are left out.

    Raises:
        UserError: its benches measured nothing.
    """
    known = [name for name in names if name in base.hello.variants]
    arguments = _bench_arguments(base, files)
    if not known or not arguments:
        return Run(None, {})
    request = {
        "network": asdict(network.call),
        "benches": arguments,
        "variants": known,
        "threads": threads,
        "accuracy_images": accuracy_images,
    }

    def run_in(folder: Path) -> Run:
        with connect(base.code) as (process, _):
            process.request(
                {"request": "measure", "file": str(folder / _RECORD), **request},
                timeout=_MEASURE_SECONDS,
            )
        return read_run(folder / _RECORD)

    def write(folder: Path) -> None:
        run = run_in(folder)
        if run.failures:
            raise _NotKept(run)

    if base.commit is None:
        with worker.scratch() as folder:
            return run_in(folder)
    inputs = {
        "commit": base.commit,
        "version": base.hello.version,
        "conditions": asdict(base.hello.conditions),
        # Of weights and images that are not in the repository, the two have the same.
        "weights": network.sha256,
        "images": [network.calibration_digest, network.reference_digest],
        **request,
    }
    try:
        folder = store.get_or_build("base", inputs, write, root=store.cache_dir("bases"))
    except _NotKept as failed:
        return failed.run
    return read_run(folder / _RECORD)


def _bench_arguments(base: Base, files: Iterable[Path]) -> list[str]:
    """Arguments for pytest in a base: files that it has, or else its packaged benches.

    Without a path, pytest would import ``conftest.py`` of folders of tests. That may change the
    threads or the memory of all that is measured.
    """
    packaged = Path(benches.__file__).resolve().parent
    arguments = []
    for file in dict.fromkeys(files):
        own = base.counterpart(file.resolve())
        is_packaged = file.resolve().parent == packaged
        if own.is_file() and (own.is_relative_to(base.code.root) or not is_packaged):
            arguments.append(os.path.relpath(own, base.code.root))
        elif is_packaged:
            arguments.append(benches.__name__)
    return list(dict.fromkeys(arguments))
