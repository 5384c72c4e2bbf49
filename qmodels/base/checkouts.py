"""Find another state of this code, and have it build and measure beside this one.

Only its command `qmodels serve` is used, none of its files; see ``system.protocol``.
"""

import io
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from qmodels.gate import Run, read_run
from qmodels.network import Network
from qmodels.system import repository, store
from qmodels.system.errors import UserError
from qmodels.system.protocol import PROTOCOL, Hello, connect
from qmodels.system.repository import GitError
from qmodels.system.worker import THIS_CHECKOUT, Checkout

# What a revision's benches need, and its stored runs.
PARTS = ("qmodels", "benches", "conftest.py", "pyproject.toml", "baselines")
# What deterministic metrics come from.
SOURCES = (
    *("qmodels", "benches", "conftest.py", "pyproject.toml", "baselines/tolerances.toml"),
    "baselines/checkpoints/index.json",
)
RECORD = "run.json"
# For all variants of a wide network. What takes longer hangs.
BUILD_SECONDS, MEASURE_SECONDS = 4 * 3600.0, 12 * 3600.0


class NotKept(Exception):
    """A run with a failed bench, on its way out of the cache."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run


@dataclass(frozen=True)
class BuildResult:
    """By variant, folders of artifacts, and the lines of failures.

    Variants that the checkout does not know are in neither.
    """

    folders: dict[str, str]
    failures: dict[str, str]


def find(base: str) -> Checkout:
    """The checkout that a folder or a git revision names.

    A folder runs with the Python of its own tox environment where it has one, a revision with this
    Python.

    Raises:
        UserError: it is neither, or does not speak this code's protocol.
    """
    folder = Path(base)
    if folder.is_dir():
        own = folder.resolve() / ".tox" / "benches" / "bin" / "python"
        checkout = Checkout(folder.resolve(), own if own.exists() else Path(sys.executable))
    else:
        checkout = Checkout(revision(base), Path(sys.executable))
    try:
        root = hello(checkout).root
        if Path(root) != checkout.root.resolve():
            raise UserError(f"there is no package qmodels; its Python finds that of {root}")
    except UserError as error:
        raise UserError(
            f"base {base} speaks no protocol {PROTOCOL} ({error}): "
            "name a later commit, or leave out --qmodels-base"
        ) from None
    return checkout


def revision(name: str) -> Path:
    """A folder with the code of a git revision, from the cache where it was made before.

    Raises:
        UserError: there is no such revision, or git failed.
    """
    try:
        commit = git("rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}")
    except GitError as error:
        raise UserError(
            f"base {name!r} is neither a folder nor a commit ({error}): "
            "name one, as in --qmodels-base origin/main"
        ) from None
    sha = commit.decode().strip()

    def write(folder: Path) -> None:
        present = [part for part in PARTS if git("ls-tree", sha, "--", part)]
        with tarfile.open(fileobj=io.BytesIO(git("archive", sha, "--", *present))) as archive:
            archive.extractall(folder, filter="data")

    inputs = {"commit": sha, "parts": PARTS}
    return store.get_or_build("checkout", inputs, write, root=store.cache_dir("checkouts"))


def git(*arguments: str) -> bytes:
    """The output of a git command in this checkout; see ``repository.git``."""
    return repository.git(*arguments, folder=THIS_CHECKOUT.root)


@cache
def hello(checkout: Checkout) -> Hello:
    """What a checkout says of itself; it is asked once.

    Raises:
        UserError: it does not speak this code's protocol.
    """
    with connect(checkout) as (_, greeting):
        return greeting


def variants(checkout: Checkout) -> tuple[str, ...]:
    """Names of the variants that a checkout knows, whether they run here or not."""
    return hello(checkout).variants


def build(checkout: Checkout, network: Network, names: Sequence[str]) -> BuildResult:
    """Quantize the network that a function gives in a checkout.

    Args:
        names: of variants; those that it does not know are left out.

    Raises:
        UserError: the checkout's process failed; of a variant, that is a line of the result.
    """
    known = [name for name in names if name in variants(checkout)]
    if not known:
        return BuildResult({}, {})
    request = {"request": "build", "network": asdict(network.call), "variants": known}
    with connect(checkout) as (process, _):
        return BuildResult(**process.request(request, limit=BUILD_SECONDS))


def measure(
    checkout: Checkout,
    network: Network,
    names: Sequence[str],
    *,
    threads: int,
    accuracy_images: str | None,
) -> Run:
    """The run of a checkout's own benches, without latency; measured once, then cached.

    A run with a failed bench is not kept, because the cause may be this machine.

    Args:
        names: of variants; those that it does not know are left out.
        accuracy_images: as in ``--qmodels-accuracy-images``; None for the default.

    Raises:
        UserError: its benches measured nothing.
    """
    known = [name for name in names if name in variants(checkout)]
    if not known:
        return Run(None, {})
    options = {"variants": known, "threads": threads, "accuracy_images": accuracy_images}
    inputs = {
        "source": source_digest(checkout.root),
        "network": asdict(network.call),
        # Of weights in the cache, the two have the same.
        "weights": network.sha256,
        "conditions": hello(checkout).conditions,
        **options,
    }

    def write(folder: Path) -> None:
        request = {
            "request": "measure",
            "network": asdict(network.call),
            "file": str(folder / RECORD),
            **options,
        }
        with connect(checkout) as (process, _):
            process.request(request, limit=MEASURE_SECONDS)
        run = read_run(folder / RECORD)
        if run.failures:
            raise NotKept(run)

    try:
        folder = store.get_or_build("base", inputs, write, root=store.cache_dir("bases"))
    except NotKept as failed:
        return failed.run
    return read_run(folder / RECORD)


def source_digest(root: Path) -> str:
    """Digest of the files, committed or not, that a checkout's metrics come from."""
    digests = {}
    for source in SOURCES:
        path = root / source
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                digests[file.relative_to(root).as_posix()] = store.digest_file(file)
    return store.digest_value(digests)
