"""Another state of this code: found, and asked to build and to measure beside this one.

It is asked by `qmodels serve` alone, never by one of its files; see ``protocol``.
"""

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from qmodels import store
from qmodels.checkpoints import Checkpoint
from qmodels.child import HERE, Checkout
from qmodels.errors import UserError
from qmodels.protocol import PROTOCOL, Hello, conversation

# Of a revision: what its benches need, and its stored runs.
PARTS = ("qmodels", "benches", "conftest.py", "pyproject.toml", "baselines")
# What its deterministic metrics come from.
SOURCES = ("qmodels", "benches", "conftest.py", "pyproject.toml", "baselines/tolerances.toml")
RECORD = "run.json"
# Of all variants of a wide network; then it hangs.
BUILD_SECONDS, MEASURE_SECONDS = 4 * 3600.0, 12 * 3600.0


@dataclass(frozen=True)
class Built:
    """What came of building variants: folders of artifacts, and lines that tell why there are none.

    Both are by variant; those that the checkout does not know are in neither.
    """

    folders: dict[str, str]
    failures: dict[str, str]


def find(base: str) -> Checkout:
    """The checkout that a folder or a git revision names.

    A folder is run by the Python of its own environment of tox, where it has one; a revision by
    this Python.

    Raises:
        UserError: it is neither, or does not speak this code's protocol.
    """
    folder = Path(base)
    if folder.is_dir():
        own = folder.resolve() / ".tox" / "benches" / "bin" / "python"
        found = Checkout(folder.resolve(), own if own.exists() else Path(sys.executable))
    else:
        found = Checkout(revision(base), Path(sys.executable))
    try:
        hello(found)
    except UserError as error:
        raise UserError(
            f"base {base} speaks no protocol {PROTOCOL} ({error}): "
            "name a later commit, or leave out --qmodels-base"
        ) from None
    return found


def revision(name: str) -> Path:
    """A folder with the code of a git revision, from the cache where it was made before."""
    try:
        commit = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    except (OSError, subprocess.CalledProcessError):
        raise UserError(
            f"base {name!r} is neither a folder nor a commit of {HERE.root}: "
            "name one, as in --qmodels-base origin/main"
        ) from None
    sha = commit.decode().strip()

    def write(folder: Path) -> None:
        present = [part for part in PARTS if git("ls-tree", sha, "--", part)]
        with tarfile.open(fileobj=io.BytesIO(git("archive", sha, "--", *present))) as archive:
            archive.extractall(folder, filter="data")

    inputs = {"commit": sha, "parts": PARTS}
    return store.build_folder("checkout", inputs, write, root=store.cache_dir("checkouts"))


def git(*arguments: str) -> bytes:
    """What git prints in this checkout."""
    return subprocess.run(
        ["git", "-C", HERE.root, *arguments], check=True, capture_output=True
    ).stdout


@cache
def hello(checkout: Checkout) -> Hello:
    """What a checkout says of itself.

    Raises:
        UserError: it does not speak this code's protocol.
    """
    with conversation(checkout) as (_, said):
        return said


def variants(checkout: Checkout) -> tuple[str, ...]:
    """Names of the variants that a checkout knows, whether they run here or not."""
    return hello(checkout).variants


def build(checkout: Checkout, checkpoint: Checkpoint, names: Sequence[str]) -> Built:
    """Quantize a checkpoint of this code by the code of another, where that was not done before.

    Raises:
        UserError: it failed as a whole.
    """
    known = [name for name in names if name in variants(checkout)]
    if not known:
        return Built({}, {})
    request = {"request": "build", "checkpoint": str(checkpoint.path.resolve()), "variants": known}
    with conversation(checkout) as (one, _):
        return Built(**one.ask(request, limit=BUILD_SECONDS))


def measured(
    checkout: Checkout,
    checkpoint: Checkpoint,
    names: Sequence[str],
    *,
    threads: int,
    accuracy_images: str | None,
) -> dict[str, Any]:
    """The run record of a checkout's own benches, without latency: measured once, then kept.

    Args:
        names: of variants; those that it does not know are left out.
        accuracy_images: as in the option of that name; None for the default.

    Raises:
        UserError: it measured nothing.
    """
    known = [name for name in names if name in variants(checkout)]
    if not known:
        return {"benchmarks": []}
    asked = {"variants": known, "threads": threads, "accuracy_images": accuracy_images}
    inputs = {
        "source": source_digest(checkout.root),
        "checkpoint": checkpoint.sha256,
        "dataset": checkpoint.dataset,
        "conditions": hello(checkout).conditions,
        **asked,
    }

    def write(folder: Path) -> None:
        request = {
            "request": "measure",
            "checkpoint": str(checkpoint.path.resolve()),
            "file": str(folder / RECORD),
            **asked,
        }
        with conversation(checkout) as (one, _):
            one.ask(request, limit=MEASURE_SECONDS)

    folder = store.build_folder("base", inputs, write, root=store.cache_dir("bases"))
    record: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    return record


def source_digest(root: Path) -> str:
    """Digest of the files, committed or not, that a checkout's metrics come from."""
    files = {}
    for part in SOURCES:
        path = root / part
        for one in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if one.is_file() and "__pycache__" not in one.parts:
                files[one.relative_to(root).as_posix()] = store.digest_file(one)
    return store.digest_value(files)
