"""The C++ compiler that Inductor calls: missing or broken, and folders without use."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from torch import nn

from qmodels.backends import compiler, inductor
from qmodels.system import files, worker
from qmodels.system.errors import UserError

ROOT = Path(__file__).parents[2]


def test_a_compiler_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch._inductor

    def fails(*arguments: object, **options: object) -> None:
        raise RuntimeError("C++ compile error\nand a page of it")

    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", fails)
    exported = inductor.Exported(nn.Identity(), many=object())  # type: ignore[arg-type]
    said = r"could not compile the model \(C\+\+ compile error\): "
    with pytest.raises(UserError, match=f"{said}install a C"):
        inductor.BACKEND.save(exported, tmp_path)
    monkeypatch.setattr(files, "FULL", 2**60)
    with pytest.raises(UserError, match=f"{said}free the disk"):
        inductor.BACKEND.save(exported, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_where_no_program_may_run_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a mount without execution: no compiler would help."""
    monkeypatch.setenv("QMODELS_CACHE_DIR", str(tmp_path / "cache"))
    with compiler.scratch_dir() as scratch:
        compiler.wrapped_compiler(scratch).chmod(0o644)
    (tmp_path / "artifact").mkdir()
    exported = inductor.export(nn.Conv2d(3, 4, 3).eval(), torch.randn(2, 3, 8, 8))
    with pytest.raises(UserError, match=r"no program may run in .*inductor: set QMODELS_CACHE_DIR"):
        inductor.BACKEND.save(exported, tmp_path / "artifact")


# In a process of its own: torch remembers which instructions its compiler could use.
COMPILES = """
import sys
from pathlib import Path
from torch import nn
from qmodels.backends import inductor
from qmodels.network.resnet import random_images
from qmodels.system.errors import UserError

exported = inductor.export(nn.Flatten(), random_images(2))
try:
    inductor.BACKEND.save(exported, Path(sys.argv[1]))
except UserError as error:
    print(error)
"""


def test_a_compiler_that_does_not_work_is_one_line(tmp_path: Path) -> None:
    broken = {"CXX": "false", "QMODELS_CACHE_DIR": str(tmp_path / "cache")}
    command = (sys.executable, "-c", COMPILES, str(tmp_path))
    ended = worker.run(*command, timeout=200, folder=ROOT, environment={**os.environ, **broken})
    said = ended.stdout.decode()
    assert said.startswith("torch could not compile the model ("), ended.reason
    assert said.endswith("): install a C++ compiler that works, as with apt-get install g++\n")
    assert said.count("\n") == 1


def test_without_a_compiler_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    obstacle = inductor.BACKEND.obstacle()
    assert obstacle is not None
    assert obstacle.reason.startswith("no C++ compiler: ")
    assert obstacle.fixable


def test_without_a_folder_that_inductor_takes_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary files"))
    monkeypatch.setenv("QMODELS_CACHE_DIR", str(tmp_path / "a cache"))
    monkeypatch.setattr(compiler, "TEMPORARY", ())
    with (
        pytest.raises(UserError, match="temporary files: set TMPDIR to a folder without spaces"),
        compiler.scratch_dir(),
    ):
        pass


@pytest.mark.parametrize("temporary", ["temporary", "temporary files"])
def test_no_folder_that_inductor_gets_has_a_space(
    temporary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / temporary).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / temporary))
    monkeypatch.setenv("QMODELS_CACHE_DIR", str(tmp_path / "a cache"))
    with compiler.scratch_dir() as scratch:
        assert scratch.is_relative_to(tmp_path) == (" " not in temporary)
        assert scratch.is_dir()
        assert " " not in str(scratch)
    assert not scratch.exists()
