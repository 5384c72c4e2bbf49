"""Files that are written whole, whatever they are and whoever may read them. Two seconds."""

import errno
import multiprocessing
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qmodels.system import files, store
from qmodels.system.errors import UserError


def test_lines_are_added_and_a_folder_in_the_way_is_one_line(tmp_path: Path) -> None:
    files.append_line(tmp_path / "log", "first")
    files.append_line(tmp_path / "log", "second")
    assert (tmp_path / "log").read_text() == "first\nsecond\n"
    with pytest.raises(UserError, match="can't be written .Is a directory."):
        files.append_line(tmp_path, "third")


def test_an_atomic_write_keeps_the_old_file_when_the_writer_fails(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def half() -> None:
        with files.atomic_write(path) as scratch:
            scratch.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full")
def test_a_device_is_written_to_and_stays(tmp_path: Path) -> None:
    files.write_text(Path("/dev/null"), "text")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(UserError, match="/dev/full can't be written .No space left.*free the disk"):
        files.write_text(Path("/dev/full"), "text")


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UserError, match="No space left on device.*free the disk"):
        files.write_text(tmp_path / "file", "text")
    assert list(tmp_path.iterdir()) == []


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Have this process make files without these bits."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("mask", "expected"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_a_new_file_has_the_mode_that_the_umask_allows(
    mask: int, expected: int, tmp_path: Path
) -> None:
    with umask(mask):
        files.write_text(tmp_path / "run.json", "{}")
        folder = store.get_or_build(
            "thing", {}, lambda folder: (folder / "file").touch(), root=tmp_path
        )
    assert mode(tmp_path / "run.json") == expected
    assert mode(folder / store.MANIFEST) == expected
    assert mode(folder) == expected | (expected & 0o444) >> 2


@pytest.mark.parametrize("kept", [0o600, 0o664, 0o755])
def test_an_old_file_keeps_its_mode(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.touch()
    path.chmod(kept)
    files.write_text(path, "new")
    assert path.read_text() == "new"
    assert mode(path) == kept


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_a_link_and_what_it_names_is_written(there: bool, tmp_path: Path) -> None:
    target, link = tmp_path / "elsewhere" / "target", tmp_path / "link"
    target.parent.mkdir()
    if there:
        target.write_text("old")
    link.symlink_to("elsewhere/target")
    files.write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["elsewhere", "link", "target"]


def refuse(method: str, error: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the system refuse to do that in a folder."""
    usual: Callable[..., object] = getattr(Path, method)

    def refused(path: Path, *arguments: object, **options: object) -> object:
        if path.parent == folder:
            raise OSError(error, os.strerror(error), str(path))
        return usual(path, *arguments, **options)

    monkeypatch.setattr(Path, method, refused)


@pytest.mark.parametrize(
    ("method", "error"),
    [("replace", errno.EBUSY), ("touch", errno.EACCES), ("touch", errno.EROFS)],
    ids=["mounted", "foreign folder", "read-only folder"],
)
def test_a_file_that_can_not_be_replaced_gets_the_contents(
    method: str, error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.json"
    path.write_text("a longer old text")
    inode = path.stat().st_ino
    refuse(method, error, tmp_path, monkeypatch)
    files.write_text(path, "new")
    assert path.read_text() == "new"
    assert path.stat().st_ino == inode
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


def test_a_new_file_where_none_can_be_made_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse("touch", errno.EACCES, tmp_path, monkeypatch)
    with pytest.raises(UserError, match="run.json can't be written .Permission denied."):
        files.write_text(tmp_path / "run.json", "new")


def build_as(user: int, root: Path, key: int) -> None:
    """Build, and rebuild what is damaged, as another user of the same group."""
    os.setgroups([])
    os.setgid(4321)
    os.setuid(user)
    os.umask(0o002)
    folder = store.get_or_build("x", {"of": key}, lambda f: (f / "file").touch(), root=root)
    (folder / "file").write_text("damage")


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="root becomes any user")
@pytest.mark.filterwarnings("ignore:.*damaged")
def test_users_of_a_group_share_a_cache() -> None:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        root = Path(name) / "cache"
        root.mkdir()
        os.chown(root, 1001, 4321)
        root.chmod(0o2775)
        for user, key in ((1001, 1), (1002, 1), (1002, 2), (1001, 2)):
            process = multiprocessing.get_context("fork").Process(
                target=build_as, args=(user, root, key)
            )
            process.start()
            process.join()
            assert process.exitcode == 0, f"user {user}"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("/a folder", Path("/a folder")),
        ("~/cache", Path.home() / "cache"),
        ("/cache\n", Path("/cache")),  # as of $(cat FILE) in a service
        ("cache\r\n", Path.cwd() / "cache"),
    ],
)
def test_a_variable_names_a_folder(
    value: str | None, expected: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QMODELS_CACHE_DIR", raising=False)
    if value is not None:
        monkeypatch.setenv("QMODELS_CACHE_DIR", value)
    assert files.named_folder("QMODELS_CACHE_DIR") == expected


@pytest.mark.parametrize("value", ["/cache\udcff", "~nobody-of-this-name/cache"])
def test_a_variable_that_names_no_folder_is_one_line(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QMODELS_DATA_DIR", value)
    with pytest.raises(UserError, match=r"^QMODELS_DATA_DIR='.*' names no folder .*: set it anew$"):
        files.named_folder("QMODELS_DATA_DIR")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_disk_a_quota_and_a_limit_are_full(code: int, tmp_path: Path) -> None:
    assert files.is_full(tmp_path, f"[Errno {code}] {os.strerror(code)}: 'model.pt'")
    assert not files.is_full(tmp_path, "no such axis")


def test_a_file_may_be_written_where_a_link_names_a_folder_that_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = os.access
    for name in ("open", "closed"):
        (tmp_path / name).mkdir()
    (tmp_path / "open" / "link").symlink_to("../closed/run.json")
    (tmp_path / "closed" / "link").symlink_to("../open/run.json")

    def access(path: Path, mode: int) -> bool:
        return ask(path, mode) and (mode == os.F_OK or "closed" not in path.parts)

    monkeypatch.setattr(os, "access", access)
    assert files.may_write(tmp_path / "open" / "new folder" / "run.json")
    assert files.may_write(tmp_path / "closed" / "link")
    assert not files.may_write(tmp_path / "open" / "link")
    assert not files.may_write(tmp_path / "closed" / "run.json")
    assert not files.may_write(tmp_path / "open")
