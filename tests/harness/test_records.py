"""Who made a record, as the record says it."""

import json
import shutil
from pathlib import Path

from qmodels import gate
from tests.gate.repositories import git
from tests.harness.planting import VARIANTS, Run


def test_the_commit_is_that_of_the_code_within_a_hook_of_another_repository(
    run: Run, repository: Path, tmp_path: Path
) -> None:
    for folder in (repository, tmp_path):
        git(folder, "init", "-q", "-b", "main")
        git(folder, "commit", "--allow-empty", "-qm", f"In {folder}")
    record = tmp_path / "run.json"
    chosen = ("benches/bench_size.py", VARIANTS, f"--benchmark-json={record}")
    try:
        run(*chosen, GIT_DIR=str(tmp_path / ".git"))
        head = (repository / ".git" / "refs" / "heads" / "main").read_text().strip()
    finally:
        shutil.rmtree(repository / ".git")
    written = json.loads(record.read_text())
    assert written["commit_info"]["id"] == head
    (entry, *_) = gate.read_run(record).entries.values()
    assert entry.provenance.commit == head[:12]
