import errno
import io
import os
import re
import sys
import threading
from pathlib import Path

import pytest

from qmodels import cli
from qmodels.system import machine
from qmodels.system.files import shown
from tests.cli.conftest import Qmodels, WriteRun, cells

STORED = (
    Path(__file__).parents[2]
    / "baselines"
    / "linux-x86_64-avx512_bf16"
    / "cifar100-resnet34-w64.json"
)


def test_a_run_without_a_baseline_is_no_pass(write_run: WriteRun, qmodels: Qmodels) -> None:
    path = write_run("run.json", size_bytes=1e6)
    path.write_text(path.read_text().replace("digits-resnet34-w8", "birds"))
    result = qmodels(f"report {path}")
    assert result.status == 3
    heading, _, *compared, _, table = result.out.splitlines()[:6]
    assert heading == "## birds"
    assert compared == [f"{machine.machine_class()}, torch 2.15.0,", "no baseline stored."]
    assert cells(table)[-1] == "verdict"
    assert "gate: " in result.out


def test_a_file_of_something_else_is_one_line(tmp_path: Path, qmodels: Qmodels) -> None:
    path = tmp_path / "run.json"
    path.write_text('{"benchmarks": [{"fullname": "other", "extra_info": {}}]}')
    result = qmodels(f"report {path}")
    assert result.status == 2
    assert "damaged, or holds no metrics of qmodels" in result.err


def test_an_empty_run_is_one_line(tmp_path: Path, qmodels: Qmodels) -> None:
    path = tmp_path / "run.json"
    path.write_text('{"benchmarks": []}')
    result = qmodels(f"report {path}")
    assert result.status == 3
    assert (
        result.err == f"qmodels: run {path} has no benchmark: run benches with --benchmark-json\n"
    )


def test_the_study_stands_beside_a_run(write_run: WriteRun, qmodels: Qmodels) -> None:
    result = qmodels(f"report {write_run('run.json', size_bytes=85e6)} --study")
    assert result.status == 0
    assert result.out.startswith("## The study and this run")
    assert "another checkpoint, not known on this machine" in result.out


def test_a_stored_run_is_not_compared_with_itself(qmodels: Qmodels) -> None:
    result = qmodels(f"report {STORED}")
    assert result.status == 0
    assert f"linux-x86_64-avx512_bf16, torch 2.15.0,\nstored in {shown(STORED)}." in result.out
    assert "(=)" not in result.out
    assert "gate:" not in result.out
    assert "verdict" not in result.out


def test_a_record_without_versions_is_shown(write_run: WriteRun, qmodels: Qmodels) -> None:
    path = write_run("run.json", size_bytes=1e6)
    path.write_text(path.read_text().replace('"torch"', '"other"'))
    result = qmodels(f"report {path}")
    assert result.status == 3
    assert "torch unknown" in result.out


def test_a_folder_is_no_run(qmodels: Qmodels, tmp_path: Path) -> None:
    result = qmodels(f"report {tmp_path}")
    assert result.status == 2
    assert result.err.startswith(f"qmodels: no run of {tmp_path} is stored for ")


def test_without_a_run_the_stored_one_of_the_nearest_class_is_shown(
    qmodels: Qmodels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "machine_class", lambda: "linux-x86_64-amx")
    for named, network in (("", "cifar100-resnet34-w16"), *[("digits-resnet34-w8",) * 2]):
        result = qmodels(f"report {named}")
        assert result.status == 0
        assert result.out.startswith(f"## {network}\n\nlinux-x86_64-avx512_bf16, torch")
    unknown = qmodels("report cifar10-resnet34-w16")
    assert unknown.status == 2
    assert "no run of cifar10-resnet34-w16 is stored for linux-x86_64-amx" in unknown.err
    assert (
        "one of cifar100-resnet34-w16, cifar100-resnet34-w64, digits-resnet34-w8\n" in unknown.err
    )


def test_a_terminal_gets_an_overview_of_100_columns(
    qmodels: Qmodels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    result = qmodels("report cifar100-resnet34-w64")
    assert max(map(len, result.out.splitlines())) <= 100
    assert len(result.out.splitlines()) <= 40
    assert "onnx-int8            21.52    74.98    +0.05" in result.out
    assert qmodels("report cifar100-resnet34-w64 --markdown").out.count("### All metrics") == 1


def test_a_terminal_without_utf8_gets_the_table_too(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    output = io.TextIOWrapper(written, encoding="ascii")
    monkeypatch.setattr(output, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", output)
    cli.main(["report"])
    assert b"onnx-int8" in written.getvalue()


def test_every_column_is_explained(qmodels: Qmodels) -> None:
    explained = qmodels("report --help-columns").out
    tables = [line for line in qmodels("report").out.splitlines() if line.startswith("| ")]
    headings = {heading for line in tables if "ms" in line for heading in cells(line)}
    assert len(headings) > 15
    for heading in headings - {"Model"}:
        name = "N images (ms)" if re.match(r"\d image", heading) else heading
        assert re.search(rf"^  {re.escape(name)}  +\w", explained, re.MULTILINE), heading


def test_a_page_is_written(qmodels: Qmodels, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    digits = STORED.with_name("digits-resnet34-w8.json")
    result = qmodels(f"report {STORED} --html {path}")
    assert result.status == 0, result.err
    assert re.fullmatch(rf"wrote {path}, 1\.\d MB\n", result.out)
    assert "cifar100-resnet34-w64" in path.read_text()
    for line, error in (
        (f"report {STORED} {digits}", "2 runs: name one, or write a page with --html"),
        (f"report {STORED} {digits} --html {path}", "give runs of one network"),
        (f"report {STORED} {STORED} --html {path}", "two runs are of linux-x86_64-avx512_bf16"),
        (f"report {STORED} --html {path} --svg {path}", "not allowed with argument"),
        (f"report {STORED} --html {path} --max-drop nan", "margin nan: choose a number"),
    ):
        refused = qmodels(line)
        assert refused.status == 2
        assert error in refused.err


@pytest.mark.parametrize("form", ["a pipe", "a byte order mark"])
def test_a_run_may_come_in_any_form(
    form: str, write_run: WriteRun, qmodels: Qmodels, tmp_path: Path
) -> None:
    path = write_run("run.json", size_bytes=1e6)
    plain = qmodels(f"report {path}").out
    if form == "a byte order mark":
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        assert qmodels(f"report {path}").out == plain
        return
    pipe = tmp_path / "63"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(path.read_bytes(),))
    writer.start()
    assert qmodels(f"report {pipe}").out == plain
    writer.join()


def test_a_run_that_can_not_be_read_is_not_called_damaged(
    write_run: WriteRun, qmodels: Qmodels, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_run("run.json", size_bytes=1e6)
    usual = Path.read_bytes

    def refuse(file: Path) -> bytes:
        if file == path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
        return usual(file)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    result = qmodels(f"report {path}")
    assert result.status == 2
    said = "can't be read (Permission denied): check its folder and its mode"
    assert result.err == f"qmodels: {path} {said}\n"
