"""Another state of this code, to be measured beside this one."""

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

from qmodels import store
from qmodels.checkpoints import Checkpoint
from qmodels.child import HERE, Checkout
from qmodels.errors import UserError

NEEDED = "qmodels/measure/stopwatch.py"
# Of a revision: the code, and the checkpoints that it ships.
PARTS = ("qmodels", "baselines/checkpoints", "pyproject.toml")


def find(base: str) -> Checkout:
    """The checkout that a folder or a git revision names.

    A folder is run by the Python of its own environment of tox, where it has one; a revision by
    this Python.

    Raises:
        UserError: it is neither, or too old to be measured beside this code.
    """
    folder = Path(base)
    if folder.is_dir():
        own = folder / ".tox" / "benches" / "bin" / "python"
        found = Checkout(folder.resolve(), own if own.exists() else Path(sys.executable))
    else:
        found = Checkout(revision(base), Path(sys.executable))
    if not (found.root / NEEDED).is_file():
        raise UserError(
            f"base {base} has no {NEEDED}, so it can't be measured in turn: "
            "leave out --qmodels-base, or name a later commit"
        )
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

    return store.build_folder("checkout", {"commit": sha}, write, root=store.cache_dir("checkouts"))


def git(*arguments: str) -> bytes:
    """What git prints in this checkout."""
    return subprocess.run(
        ["git", "-C", HERE.root, *arguments], check=True, capture_output=True
    ).stdout


def artifacts(checkout: Checkout, checkpoint: Checkpoint, variants: list[str]) -> dict[str, str]:
    """Folders of the variants that a checkout knows, built by its own code where they are missing.

    Raises:
        UserError: it can't build one.
    """
    known = {one["name"] for one in command(checkout, "variants", "--json")}
    chosen = [name for name in variants if name in known]
    if not chosen:
        return {}
    network = [
        f"--dataset={checkpoint.dataset}",
        f"--architecture={checkpoint.architecture}",
        f"--width={checkpoint.width}",
    ]
    built = command(checkout, "build", "--json", *network, f"--variants={','.join(chosen)}")
    return {one["variant"]: one["folder"] for one in built}


def command(checkout: Checkout, *arguments: str) -> list[dict[str, str]]:
    """What a command of a checkout answers in JSON."""
    child = subprocess.run(
        [checkout.python, "-m", "qmodels", *arguments],
        cwd=checkout.root,
        env=checkout.environment(),
        capture_output=True,
        text=True,
    )
    if child.returncode != 0:
        said = (child.stderr.strip() or f"exit status {child.returncode}").splitlines()[-1]
        raise UserError(f"`qmodels {arguments[0]}` failed in {checkout.root}: {said}")
    answer: list[dict[str, str]] = json.loads(child.stdout)
    return answer
