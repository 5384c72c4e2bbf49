import subprocess
import sys
from pathlib import Path

import pytest

from qmodels import checkouts
from qmodels.checkpoints import Checkpoint
from qmodels.child import HERE, Checkout
from qmodels.errors import UserError


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit that can be measured and an older one that can't."""
    monkeypatch.setattr(checkouts, "HERE", Checkout(tmp_path, Path(sys.executable)))
    git(tmp_path, "init", "-b", "main")
    (tmp_path / "qmodels").mkdir()
    (tmp_path / "qmodels" / "__init__.py").write_text("")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "old")
    stopwatch = tmp_path / checkouts.NEEDED
    stopwatch.parent.mkdir()
    stopwatch.write_text("this commit")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "new")
    return tmp_path


def test_a_revision_is_laid_out_as_it_was_committed(repository: Path) -> None:
    (repository / checkouts.NEEDED).write_text("not committed")
    found = checkouts.find("main")
    assert (found.root / checkouts.NEEDED).read_text() == "this commit"
    assert found.python == Path(sys.executable)
    assert checkouts.find("main") == found, "from the cache"


def test_a_folder_is_taken_as_it_is_with_the_python_of_its_environment(repository: Path) -> None:
    assert checkouts.find(str(repository)) == Checkout(repository, Path(sys.executable))
    own = repository / ".tox" / "benches" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.write_text("")
    assert checkouts.find(str(repository)).python == own


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("no-such-branch", "neither a folder nor a commit"),
        ("--output=/tmp/x", "neither a folder nor a commit"),
        ("main~1", "can't be measured in turn"),
    ],
)
def test_what_is_no_base_is_refused_in_one_line(repository: Path, base: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        checkouts.find(base)
    assert "\n" not in str(caught.value)


def test_a_checkout_builds_the_variants_that_it_knows(digits_checkpoint: Checkpoint) -> None:
    built = checkouts.artifacts(HERE, digits_checkpoint, ["fp32", "no-such-variant"])
    assert list(built) == ["fp32"]
    assert Path(built["fp32"], "manifest.json").is_file()
    assert checkouts.artifacts(HERE, digits_checkpoint, ["no-such-variant"]) == {}
