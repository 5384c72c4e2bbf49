"""Run the steps of the benches job as a runner does, in a clean clone: `tox run -e workflow`.

Three cases that people have (nothing changed, a variant added, a change accepted), each on a
machine class with a stored run and on one without. Only deterministic benches, of two variants on
the digits.
"""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from docs import pages
from qmodels import gate
from qmodels.system import machine

ROOT = Path(__file__).parents[1]
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
STORED = "digits-resnet34-w8.json"
OPTIONS = "--qmodels-dataset=digits -k 'not latency'"
VARIANTS = "fp32,dynamic-int8"

SAVE = "        save_state(model, folder)\n"
FATTER = SAVE + '        (folder / "labels.txt").write_text("a class\\n" * 1000)\n'


@dataclass(frozen=True)
class Job:
    """What a job left: the exit statuses of its steps by name, and what they printed."""

    statuses: dict[str, int]
    printed: str


@dataclass(frozen=True)
class Clone:
    """A clone of this repository, in which pull requests are made and jobs run."""

    folder: Path

    def shell(self, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a script as GitHub runs a step with `shell: bash`."""
        return subprocess.run(
            ["bash", "-eo", "pipefail", "-c", script],
            cwd=self.folder,
            env={**inherited(), **pages.AUTHOR, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def git(self, *arguments: str) -> str:
        """Run git; what it printed."""
        return subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env={**inherited(), **pages.AUTHOR},
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def commit(self, message: str) -> None:
        """Commit everything."""
        self.git("add", "--all", ".")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)

    def job(self, event: str, variants: str) -> Job:
        """Run the benches job of the workflow at what is checked out."""
        environment = {
            "CI": "true",
            "GITHUB_EVENT_NAME": event,
            "GITHUB_STEP_SUMMARY": str(self.folder.parent / "summary.md"),
            "QMODELS_CACHE_DIR": str(self.folder.parent / "cache"),
            "PYTEST_ADDOPTS": f"{OPTIONS} --qmodels-variants={variants}",
        }
        statuses: dict[str, int] = {}
        printed = ""
        for step in yaml.safe_load(WORKFLOW.read_text())["jobs"]["benches"]["steps"]:
            if "run" not in step or step["run"] == "pip install tox-uv":  # it is running this
                continue
            failed = any(statuses.values())
            condition = step.get("if")
            if not runs(condition, event, failed, (self.folder / "run.json").exists()):
                continue
            result = self.shell(step["run"], **environment)
            statuses[step["name"]] = result.returncode
            printed += result.stdout
        return Job(statuses, printed)

    def pull_request(self, variants: str = VARIANTS) -> Job:
        """Run the job at the merge of the branch `change` into `main`."""
        self.git("checkout", "--quiet", "--force", "--detach", "main")
        self.git("merge", "--quiet", "--no-ff", "--message", "merge", "change")
        self.clean()
        return self.job("pull_request", variants)

    def push(self, variants: str = VARIANTS) -> Job:
        """Run the job at the branch `change`, as if it had been merged and pushed."""
        self.git("checkout", "--quiet", "--force", "change")
        self.clean()
        return self.job("push", variants)

    def accept(self) -> None:
        """Commit the baselines that the last job has made to the branch `change`."""
        contents = {
            path: path.read_bytes()
            for path in (self.folder / "baselines").glob("*-*-*/*.json")
            if path.name.startswith("digits-")
        }
        self.git("checkout", "--quiet", "--force", "change")
        for path, content in contents.items():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        self.commit("accept")

    def clean(self) -> None:
        """Leave nothing of an earlier job, but for environments and caches."""
        self.git("clean", "--quiet", "--force", "-d", "-x", "--exclude", ".tox")
        self.shell("git worktree remove --force ../base || true")


def inherited() -> dict[str, str]:
    """This process's environment, without what tox, pytest or a git hook have set for it."""
    own = ("GIT_", "TOX", "PYTEST", "VIRTUAL_ENV", "UV_CONSTRAINT", "QMODELS_", "GITHUB_", "PYTHON")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)}


def runs(condition: str | None, event: str, failed: bool, measured: bool) -> bool:
    """Whether a step runs: the conditions that the workflow uses, and no others."""
    known = {
        None: not failed,
        "github.event_name == 'pull_request'": not failed and event == "pull_request",
        "${{ !cancelled() && hashFiles('run.json') != '' }}": measured,
    }
    return known[condition]


@pytest.fixture(params=["stored", "not stored"])
def clone(request: pytest.FixtureRequest, checkout: Path) -> Clone:
    """A clone whose branch `main` has a run of this machine's class, or has none."""
    clone = Clone(checkout)
    name = request.param.replace(" ", "-")
    clone.git("checkout", "--quiet", "--force", "-B", "main", name)
    clone.git("checkout", "--quiet", "-B", "change")
    return clone


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A clone with the branches `stored` and `not-stored`."""
    folder = tmp_path_factory.mktemp("runner") / "project"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], env=inherited(), check=True)
    clone = Clone(folder)
    here = machine.machine_class()
    own = gate.baseline_path(folder / "baselines", here, STORED.removesuffix(".json"))

    clone.git("checkout", "--quiet", "-B", "not-stored")
    if own.exists():  # as if another class had made it
        other = own.parents[1] / f"{here.rpartition('-')[0]}-baseline"
        own.parent.rename(other)
        for path in other.glob("*.json"):
            path.write_text(path.read_text().replace(f'"{here}"', f'"{other.name}"'))
    clone.commit("no run of this class")

    clone.git("checkout", "--quiet", "-B", "stored", "HEAD^")
    own.unlink(missing_ok=True)
    for beside in (".ranks.json", ".times.json"):
        own.with_suffix(beside).unlink(missing_ok=True)
    result = clone.shell(
        "tox run -e benches -- --qmodels-update-baseline",
        PYTEST_ADDOPTS=f"{OPTIONS} --qmodels-variants={VARIANTS}",
        QMODELS_CACHE_DIR=str(folder.parent / "cache"),
    )
    assert result.returncode == 0, result.stdout
    own.write_text(own.read_text().replace(' "partial": true,\n', ""))  # there are no others here
    clone.commit("a run of this class")
    yield folder
    clone.shell("rm -rf .tox ../base")


def assert_green(job: Job) -> None:
    """All steps passed."""
    assert not any(job.statuses.values()), job.printed


def assert_red(job: Job, *said: str) -> None:
    """The gate failed and said so; the other steps passed."""
    assert {name for name, status in job.statuses.items() if status} == {"Gate"}, job.printed
    for line in said:
        assert line in job.printed


def test_nothing_changed(clone: Clone) -> None:
    (clone.folder / "README.md").write_text("a typo\n")
    clone.commit("words")
    job = clone.pull_request()
    assert_green(job)
    assert list(job.statuses) == ["Build the base", "Gate", "Report", "Make the new baseline"]
    job = clone.push()
    assert_green(job)
    assert "nothing to accept" in job.printed


def test_a_variant_is_added(clone: Clone) -> None:
    variants = f"{VARIANTS},rounded-weights"
    (block,) = [block for block in pages.blocks(ROOT / "README.md") if block.mark == "file"]
    (clone.folder / block.argument).write_text(block.text + "\n")
    clone.commit("a variant")
    assert_green(clone.pull_request(variants))
    clone.accept()
    assert_green(clone.pull_request(variants))
    job = clone.push(variants)
    assert_green(job)
    assert "nothing to accept" in job.printed


def test_a_change_is_accepted(clone: Clone) -> None:
    backend = clone.folder / "qmodels" / "backends" / "eager.py"
    before = backend.read_text()
    assert SAVE in before
    backend.write_text(before.replace(SAVE, FATTER))
    clone.commit("labels beside the weights")
    assert_red(clone.pull_request(), "bench_size[fp32] regressed: size_bytes", "with the base")
    clone.accept()
    assert_green(clone.pull_request())
    job = clone.push()
    assert_green(job)
    assert "nothing to accept" in job.printed
