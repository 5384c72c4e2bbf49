"""Variants that other packages bring, whole and broken."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import qmodels

WORKING = """
from qmodels.runtimes.eager import WEIGHTS
from qmodels.variants import variant

@variant(
    "mine", engine="eager", summary="", format=WEIGHTS, requires=["nobody_has_it"], extra={extra}
)
def mine(model, calibration):
    return model
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed packages."""
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


def install(site: Path, package: str, module: str) -> None:
    """Put a package there, of one module, which an entry point names."""
    (site / f"{package}.py").write_text(textwrap.dedent(module))
    info = site / f"my_{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: my-{package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[qmodels.variants]\npoint = {package}\n")


def names_and_errors(site: Path) -> tuple[list[str], list[str]]:
    """Lines that a fresh process prints of all variants, and those of its standard error."""
    script = (
        "from qmodels import variants\n"
        "for _ in range(2): known = variants.all_variants()\n"
        "print('fp32', *(f'{name}: {one.missing()}' for name, one in known.items()"
        " if not one.quantize.__module__.startswith('qmodels')), sep='\\n')"
    )
    path = os.pathsep.join([str(Path(qmodels.__file__).parents[1]), str(site)])
    child = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return child.stdout.splitlines()[1:], child.stderr.splitlines()


def broken(package: str, error: str) -> str:
    return (
        f"qmodels: entry point point of package my-{package} is broken and its variants are left "
        f"out ({error}): mend or uninstall my-{package}"
    )


def test_broken_packages_cost_their_own_variants_and_a_line_each(site: Path) -> None:
    install(site, "working", WORKING.format(extra=None))
    # What was registered before the error goes with it; what another module registered stays.
    taken = WORKING.replace("mine", "gone").format(extra=None)
    install(site, "twice", taken + WORKING.replace("mine", "fp32").format(extra=None))
    install(site, "importing", "import working, nobody_has_this")
    install(site, "unreadable", "def")
    install(site, "leaving", "raise SystemExit('no licence')")
    found, errors = names_and_errors(site)
    assert found == ["mine: nobody_has_it is not installed: pip install my-working"]
    assert sorted(errors) == [
        broken("importing", "ModuleNotFoundError: No module named 'nobody_has_this'"),
        broken("leaving", "SystemExit: no licence"),
        broken("twice", "UserError: variant 'fp32' is defined twice: rename one of them"),
        broken("unreadable", "SyntaxError: invalid syntax (unreadable.py, line 1)"),
    ]


def test_what_another_package_needs_is_an_extra_of_it(site: Path) -> None:
    install(site, "working", WORKING.format(extra="'fast'"))
    found, errors = names_and_errors(site)
    assert found == ["mine: nobody_has_it is not installed: pip install 'my-working[fast]'"]
    assert errors == []


def test_the_command_line_goes_on_without_a_broken_package(site: Path) -> None:
    install(site, "unreadable", "def")
    path = os.pathsep.join([str(Path(qmodels.__file__).parents[1]), str(site)])
    child = subprocess.run(
        [sys.executable, "-m", "qmodels", "build", "--dataset=digits", "--variants=unreadable"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert child.returncode == 2
    warned, said = child.stderr.splitlines()
    assert warned == broken("unreadable", "SyntaxError: invalid syntax (unreadable.py, line 1)")
    assert said.startswith("qmodels: unknown variant 'unreadable': choose from fp32, ")
