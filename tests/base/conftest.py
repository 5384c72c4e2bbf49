"""A repository that is a base: it answers requests, without torch."""

import textwrap
from pathlib import Path

import pytest

from qmodels.base import checkouts
from qmodels.base.checkouts import Base
from tests.gate.repositories import git

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
                "conditions": {
                    "machine_class": os.environ.get("CLASS", "here"), "versions": {}, "isa": {}
                },
            }
        elif request["request"] == "measure":
            about = {
                "network": "n", "bench": "b", "batch_size": 1, "engine": "eager", "threads": 1,
                "weights": "w", "arithmetic": "float32", "machine_class": "c", "source": {},
                "provenance": {"date": "", "commit": "", "host": "", "versions": {}},
                "metrics": {},
            }
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
