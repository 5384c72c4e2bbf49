"""Which checkout a base is: a commit, a folder, this code by another Python; and what is none."""

import shutil
import sys
import tarfile
from pathlib import Path

import pytest

from qmodels.system.errors import UserError
from tests.base.conftest import MAIN, find
from tests.gate.repositories import git


def test_a_revision_is_laid_out_as_it_was_committed(repository: Path) -> None:
    (repository / "qmodels" / "__init__.py").write_text("not committed")
    base = find("main", repository)
    assert base.counterpart(repository / "qmodels" / "__init__.py").read_text() == ""
    assert (base.code.root / "baselines" / "avx2" / "digits.json").is_file()
    assert base.code.python == Path(sys.executable)
    assert find("main", repository) == base, "from the cache"


def test_a_revision_is_of_the_whole_repository(repository: Path) -> None:
    """Of a project in a folder of a larger repository, what is beside it is imported too."""
    inner = repository / "project"
    inner.mkdir()
    (inner / "a.txt").write_text("a")
    with pytest.raises(UserError, match="^base main has no folder project: name a later commit$"):
        find("main", inner)
    git(repository, "add", ".")
    git(repository, "commit", "-m", "a folder")
    base = find("main", inner)
    assert (base.code.root / "a.txt").is_file()
    assert base.counterpart(repository / MAIN).is_file()
    assert base.commit is not None


def test_a_folder_is_taken_as_it_is_with_the_python_of_its_environment(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = find(str(repository), repository)
    assert (base.code.root, base.code.python) == (repository, Path(sys.executable))
    own = repository / ".tox" / "benches" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.symlink_to(sys.executable)
    monkeypatch.chdir(repository.parent)
    assert find("repository", repository).code.python == own


@pytest.mark.parametrize("damage", ["a link to nothing", "not executable", "no interpreter"])
def test_an_environment_that_can_not_be_run_is_one_line(repository: Path, damage: str) -> None:
    own = repository / ".tox" / "benches" / "bin" / "python"
    own.parent.mkdir(parents=True)
    if damage == "a link to nothing":
        own.symlink_to("python-that-was-removed")
    else:
        own.write_text("#!/no/such/interpreter\n")
        own.chmod(0o644 if damage == "not executable" else 0o755)
    said = rf"^{own} can't be run \(.*\): make its environment again$"
    with pytest.raises(UserError, match=said):
        find(str(repository), repository)


def test_a_revision_is_laid_out_without_the_filters_of_tarfile(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Python 3.11.3 and before."""
    extract = tarfile.TarFile.extractall

    def without(archive: tarfile.TarFile, path: Path) -> None:
        extract(archive, path)

    monkeypatch.setattr(tarfile.TarFile, "extractall", without)
    monkeypatch.delattr(tarfile, "data_filter")
    (repository / "link").symlink_to("qmodels")
    git(repository, "add", ".")
    git(repository, "commit", "-m", "a link")
    base = find("main", repository)
    assert (base.code.root / "link" / "__main__.py").is_file()
    assert base.code.root.joinpath("link").is_symlink()


def test_another_python_runs_the_same_code(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What this one imports from outside the repository is not for it."""
    packages = repository.parent / "packages"
    packages.mkdir()
    monkeypatch.syspath_prepend(packages)
    other = repository.parent / "python"
    other.symlink_to(sys.executable)
    base = find(None, repository, str(other))
    assert (base.code.root, base.code.python) == (repository, other)
    assert str(packages) not in base.code.paths
    assert str(packages) in find(None, repository).code.paths
    with pytest.raises(UserError, match="base-python nowhere is no command that") as caught:
        find(None, repository, "nowhere")
    assert "\n" not in str(caught.value)


def test_the_module_of_the_network_is_that_of_the_base(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else both sides would measure the same code."""
    (repository / "quantized.py").write_text("")
    monkeypatch.syspath_prepend(repository)
    with pytest.raises(UserError, match="has no .*quantized.py, and .* nowhere: name a later"):
        find(str(repository.parent), repository)
    git(repository, "add", ".")
    git(repository, "commit", "-m", "a network")
    assert find("main", repository).code.root != repository
    monkeypatch.setenv("FILE", "/elsewhere/quantized.py")
    with pytest.raises(UserError, match="finds module quantized at /elsewhere/quantized.py:"):
        find("main", repository)


@pytest.mark.parametrize(
    ("base", "said"),
    [
        (
            "no-such-branch",
            "neither a folder nor a commit .*fatal: Needed a single revision",
        ),
        ("--output=/tmp/x", "neither a folder nor a commit"),
        (
            "main~1",
            "base main~1 can't be asked by protocol 4 .*invalid choice.*: name a later",
        ),
    ],
)
def test_what_is_no_base_is_refused_in_one_line(repository: Path, base: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        find(base, repository)
    assert "\n" not in str(caught.value)


def test_the_reason_of_git_is_told(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(repository / ".git")
    with pytest.raises(UserError, match="fatal: not a git repository"):
        find("main", repository)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match=r"^git can't be run \(.*\): install it$"):
        find("main", repository)


def test_a_hook_of_another_repository_does_not_mislead_git(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "nowhere" / "index"))
    assert find("main", repository).code.root.is_dir()


def test_a_hello_that_is_malformed_is_one_line(repository: Path) -> None:
    text = (repository / MAIN).read_text()
    (repository / MAIN).write_text(text.replace('["fp32", "int8"]', '["fp32", 8]'))
    said = r"\(its hello is malformed \(variants\[1\]: expected a text, not 8\)\)"
    with pytest.raises(UserError, match=said) as caught:
        find(str(repository), repository)
    assert "\n" not in str(caught.value)


def test_another_protocol_is_refused_in_one_line(repository: Path) -> None:
    text = (repository / MAIN).read_text()
    (repository / MAIN).write_text(text.replace('"protocol": 4', '"protocol": 5'))
    with pytest.raises(
        UserError, match=r"can't be asked by protocol 4 \(it speaks protocol 5\)"
    ) as caught:
        find(str(repository), repository)
    assert "\n" not in str(caught.value)
