import json
import shutil
import subprocess
import sys
import tarfile
import textwrap
from pathlib import Path

import pytest

from qmodels import benches
from qmodels.base import checkouts
from qmodels.base.checkouts import Base
from qmodels.base.requests import BuildResult, build, measure
from qmodels.network import Network, open_network
from qmodels.system.checkout import THIS_CHECKOUT
from qmodels.system.errors import UserError

# Another state of this code, without torch: what it says at first, and benches that take no time.
SERVE = """
    import json, os, sys
    from pathlib import Path

    if sys.argv[1:] != ["serve"]:
        sys.exit("no such command")
    for line in sys.stdin:
        request = json.loads(line)
        with open(os.environ["ASKED"], "a") as asked:
            asked.write(line)
        answer = {}
        if "protocol" in request:
            answer = {
                "protocol": 4,
                "version": "0",
                "file": os.environ.get("FILE", f"{os.getcwd()}/{request['module']}.py"),
                "variants": ["fp32", "int8"],
                "conditions": {"machine_class": os.environ.get("CLASS", "here")},
            }
        elif request["request"] == "measure":
            about = {"network": "n", "bench": "b", "batch_size": 1, "metrics": {}}
            benchmarks = [
                {"name": name, "fullname": name, "extra_info": {"variant": name, **about}}
                for name in request["variants"]
            ]
            Path(request["file"]).write_text(json.dumps({"benchmarks": benchmarks}))
        elif request["request"] == "build":
            answer = {"folders": {"fp32": "a"}, "failures": {"int8": "int8: no compiler"}}
        print(json.dumps(answer), flush=True)
"""
MAIN = Path("qmodels", "__main__.py")
BENCHES = sorted(Path(benches.__file__).parent.glob("bench_*.py"))


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a commit that answers and an older one that does not."""
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    (tmp_path / "asked").touch()
    git(folder, "init", "-b", "main")
    (folder / "qmodels").mkdir()
    (folder / "qmodels" / "__init__.py").write_text("")
    (folder / MAIN).write_text("raise SystemExit('invalid choice: serve')")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "old")
    (folder / MAIN).write_text(textwrap.dedent(SERVE))
    (folder / "baselines" / "avx2").mkdir(parents=True)
    (folder / "baselines" / "avx2" / "digits.json").write_text("{}")
    (folder / "baselines" / "tolerances.toml").write_text("")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "new")
    return folder


def find(name: str | None, repository: Path, python: str | None = None) -> Base:
    """The base of a name, for the code in a repository."""
    checkouts.hello.cache_clear()
    return checkouts.find(name, python, repository, "quantized")


def this_code() -> Base:
    """This checkout as its own base."""
    return checkouts.find(None, None, THIS_CHECKOUT.root, "qmodels.training.networks")


def requests(repository: Path, name: str) -> list[object]:
    """The requests of a name that were made so far."""
    asked = (repository.parent / "asked").read_text().splitlines()
    return [request for request in map(json.loads, asked) if request.get("request") == name]


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
    said = rf"\({own} can't be run \(.*\): make its environment again\)"
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
    ours = repository.parent / "ours"
    ours.mkdir()
    monkeypatch.syspath_prepend(ours)
    other = repository.parent / "python"
    other.symlink_to(sys.executable)
    base = find(None, repository, str(other))
    assert (base.code.root, base.code.python) == (repository, other)
    assert str(ours) not in base.code.paths
    assert str(ours) in find(None, repository).code.paths
    with pytest.raises(UserError, match="base-python nowhere: there is no such command") as caught:
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


def test_another_protocol_is_refused_in_one_line(repository: Path) -> None:
    text = (repository / MAIN).read_text()
    (repository / MAIN).write_text(text.replace('"protocol": 4', '"protocol": 5'))
    with pytest.raises(
        UserError, match=r"can't be asked by protocol 4 \(it speaks protocol 5\)"
    ) as caught:
        find(str(repository), repository)
    assert "\n" not in str(caught.value)


def test_what_can_not_be_built_is_a_line_for_its_variant(
    repository: Path, digits_network: Network
) -> None:
    base = find(str(repository), repository)
    built = build(base, digits_network, ["fp32", "int8", "unknown"])
    assert built == BuildResult({"fp32": "a"}, {"int8": "int8: no compiler"})
    (request,) = requests(repository, "build")
    assert request["variants"] == ["fp32", "int8"]  # type: ignore[index]
    assert request["network"] == {  # type: ignore[index]
        "function": "qmodels.training.networks:usual",
        "arguments": {"dataset": "digits", "architecture": "resnet34", "width": 8},
    }
    assert build(base, digits_network, ["unknown"]) == BuildResult({}, {})


def test_a_base_is_measured_once(
    repository: Path, digits_network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(base: str, *names: str, threads: int = 1) -> list[str]:
        run = measure(
            find(base, repository),
            digits_network,
            names,
            BENCHES,
            threads=threads,
            accuracy_images=None,
        )
        return [key.variant for key in run.entries]

    def count() -> int:
        return len(requests(repository, "measure"))

    assert measured("main", "fp32", "unknown") == ["fp32"]
    assert measured("main", "fp32") == ["fp32"]
    assert count() == 1, "it is in the cache"
    assert measured(str(repository), "fp32") == ["fp32"]
    assert count() == 1, "a folder with the same code is no other"
    assert measured("main", "unknown") == []
    assert count() == 1
    assert measured("main", "fp32", "int8") == ["fp32", "int8"]
    measured("main", "fp32", threads=2)
    monkeypatch.setenv("CLASS", "another")
    measured("main", "fp32")
    monkeypatch.delenv("CLASS")
    assert count() == 4
    (repository / "qmodels" / "resnet.py").write_text("edited, not committed")
    measured(str(repository), "fp32")
    measured(str(repository), "fp32")
    assert count() == 6, "what changes without a commit is not kept"


def test_a_base_runs_the_benches_that_it_has(repository: Path, digits_network: Network) -> None:
    base = find(str(repository), repository)
    (repository / "test_a.py").touch()
    files = [*BENCHES, repository / "test_a.py", repository / "test_b.py"]
    measure(base, digits_network, ["fp32"], files, threads=1, accuracy_images=None)
    (request,) = requests(repository, "measure")
    assert request["benches"] == ["qmodels.benches", "test_a.py"]  # type: ignore[index]


def test_a_build_is_of_the_network_that_the_checkouts_function_gives() -> None:
    network = open_network("tests.outside:network")
    built = build(this_code(), network, ["fp32", "cuda-fp32"])
    manifest = json.loads(Path(built.folders["fp32"], "manifest.json").read_text())
    assert manifest["inputs"]["weights"] == network.sha256
    assert set(built.folders) | set(built.failures) == {"fp32", "cuda-fp32"}
    assert all("\n" not in line for line in built.failures.values())


def test_the_benches_of_a_checkout_measure_the_network_that_is_asked_for() -> None:
    network = open_network("tests.outside:network")
    run = measure(this_code(), network, ["fp32"], BENCHES, threads=1, accuracy_images=None)
    assert {key.network for key in run.entries} == {"sides"}


def test_the_benches_of_a_checkout_are_run_without_latency(digits_network: Network) -> None:
    run = measure(this_code(), digits_network, ["fp32"], BENCHES, threads=1, accuracy_images="100")
    entries = {entry.name: entry for entry in run.entries.values()}
    assert {"bench_accuracy[fp32]", "bench_size[fp32]", "bench_kernels[fp32]"} <= set(entries)
    assert not any("latency" in name for name in entries)
    accuracy = entries["bench_accuracy[fp32]"]
    assert accuracy.metrics["top1"].value > 90
    assert accuracy.weights == digits_network.sha256[:16]
