import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from qmodels.system import store
from qmodels.system.errors import UserError


def slow_build(folder: Path) -> None:
    with (folder.parent / "builds").open("a") as log:
        log.write("built\n")
    (folder / "part1").write_bytes(b"1" * 1000)
    time.sleep(1.0)
    (folder / "part2").write_bytes(b"2" * 1000)


def build_slowly(root: Path) -> None:
    store.get_or_build("thing", {"of": 1}, slow_build, root=root)


def test_what_is_built_once_is_found_again(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        (folder / "file").write_text("content")

    def never(folder: Path) -> None:
        raise AssertionError("built twice")

    first = store.get_or_build("thing", {"a": 1, "b": 2}, build, root=tmp_path)
    again = store.get_or_build("thing", {"b": 2, "a": 1}, never, root=tmp_path)
    assert first == again
    assert (first / "file").read_text() == "content"
    assert store.get_or_build("thing", {"a": 2}, build, root=tmp_path) != first


@pytest.mark.parametrize(
    "damage",
    [
        *("changed", "truncated", "deleted", "no manifest", "no format", "another format"),
        *("other inputs", "a name too long"),
    ],
)
def test_what_is_damaged_is_built_again(tmp_path: Path, damage: str) -> None:
    def build(folder: Path) -> None:
        (folder / "file").write_text("content")

    folder = store.get_or_build("thing", {}, build, root=tmp_path)
    if damage == "changed":
        (folder / "file").write_text("contenT")
    elif damage == "truncated":
        (folder / "file").write_text("con")
    elif damage == "deleted":
        (folder / "file").unlink()
    elif damage == "no manifest":
        (folder / store.MANIFEST).write_text('{"inputs"')
    else:
        manifest = json.loads((folder / store.MANIFEST).read_text())
        if damage == "other inputs":
            manifest["inputs"] = {"a": 1}
        elif damage == "a name too long":
            manifest["files"]["x" * 300] = "0" * 64
        else:
            assert manifest.pop("format") == store.MANIFEST_FORMAT
            manifest |= {"format": store.MANIFEST_FORMAT + 1} if damage == "another format" else {}
        (folder / store.MANIFEST).write_text(json.dumps(manifest))
    assert store.damaged_file(folder, {}) is not None
    with pytest.warns(UserWarning, match="damaged: building thing again"):
        again = store.get_or_build("thing", {}, build, root=tmp_path)
    assert (again / "file").read_text() == "content"
    assert store.damaged_file(again) is None


def test_manifests_of_another_format_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(folder: Path) -> None:
        (folder / "file").write_text("content")

    first = store.get_or_build("thing", {}, build, root=tmp_path)
    monkeypatch.setattr(store, "MANIFEST_FORMAT", store.MANIFEST_FORMAT + 1)
    assert store.get_or_build("thing", {}, build, root=tmp_path) != first
    assert store.damaged_file(first) == first / store.MANIFEST


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        (folder / "file").write_text("half")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        store.get_or_build("thing", {}, build, root=tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_a_killed_build_is_swept_away_by_the_next(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    victim = context.Process(target=build_slowly, args=(tmp_path,))
    victim.start()
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".thing-*.build.*/part1")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(victim.pid or 0, signal.SIGKILL)
    victim.join()
    assert list(tmp_path.glob(".thing-*.build.*")), "killed too late to prove anything"
    build_slowly(tmp_path)
    folders = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert len(folders) == 1
    assert store.damaged_file(folders[0]) is None


def test_two_processes_wait_for_one_build(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=build_slowly, args=(tmp_path,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert (tmp_path / "builds").read_text() == "built\n"


def test_a_relative_cache_directory_is_told_as_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QMODELS_CACHE_DIR", "cache")
    assert store.cache_dir("part") == tmp_path / "cache" / "part"


def test_a_cache_that_cannot_be_made_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("QMODELS_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match="set QMODELS_CACHE_DIR"):
        store.cache_dir()


def test_a_cache_that_cannot_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QMODELS_CACHE_DIR", str(tmp_path))
    # Permissions do not stop root, who runs many a container.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UserError, match="can't be written: set QMODELS_CACHE_DIR"):
        store.cache_dir()


def test_the_compilers_files_lie_in_the_cache_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QMODELS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv(store.INDUCTOR_CACHE, "own")
    store.place_inductor_cache()
    assert os.environ[store.INDUCTOR_CACHE] == "own"
    monkeypatch.delenv(store.INDUCTOR_CACHE)
    with monkeypatch.context() as unwritable:
        unwritable.setattr(os, "access", lambda path, mode: mode == os.F_OK)
        store.place_inductor_cache()
    assert store.INDUCTOR_CACHE not in os.environ
    store.place_inductor_cache()
    assert os.environ[store.INDUCTOR_CACHE] == str(tmp_path / "cache" / "inductor")
    assert list(tmp_path.iterdir()) == [], "nothing is made before the compiler needs it"


def test_a_manifest_that_can_not_be_read_is_one_line(tmp_path: Path) -> None:
    folder = store.get_or_build("thing", {}, lambda folder: None, root=tmp_path)
    path = folder / store.MANIFEST
    manifest = json.loads(path.read_text())
    for other, said in (
        (manifest | {"format": 2}, "format: expected 1, not 2"),
        (manifest | {"files": {"a": 1}}, "files.a: expected a text, not 1"),
    ):
        path.write_text(json.dumps(other))
        with pytest.raises(UserError, match=f"^{path}: {said}: delete {folder} to rebuild$"):
            store.read_manifest(folder)
    path.unlink()
    with pytest.raises(UserError, match=f"^{path} is missing: delete {folder} to rebuild$"):
        store.read_manifest(folder)
