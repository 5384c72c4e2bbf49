"""All variants by name, those that other packages bring, whole and broken, among them."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

import qmodels
from qmodels import variants
from qmodels.backends import eager
from qmodels.network import Network
from qmodels.system import packages
from qmodels.system.errors import Obstacle, Unavailable, UserError
from qmodels.training.checkpoints import Checkpoint
from qmodels.variants import registry
from tests.outside import RUNTIME, install

WORKING = """
from qmodels.backends import eager
from qmodels.variants import variant

@variant(backend=eager.BACKEND, summary="", requires=["nobody_has_it"], extra={extra})
def mine(model):
    return model
"""

RUN = """
import json, sys
import torch
from qmodels import variants
from qmodels.system import store
from qmodels.training import networks
from qmodels.variants import artifact

network = networks.trained(sys.argv[1])
variant = variants.all_variants()["half-weights"]
built = variants.build(variant, network)
opened = artifact.open_artifact(built.folder)
forward, images = opened.load(), network.reference_images[:24]
with torch.inference_mode():
    expected = network.load()(images)
    difference = float((forward(images) - expected).abs().max() / expected.abs().max())
print(json.dumps({
    "last": list(variants.all_variants())[-1],
    "opened": opened == built,
    "files": sorted(path.name for path in built.folder.iterdir()),
    "source": "runtime" in store.read_manifest(built.folder).inputs["sources"],
    "difference": difference,
    "kernels": len(variant.backend.kernels(forward, opened, images)),
}))
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed packages."""
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


def python(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A fresh process that has those packages."""
    path = os.pathsep.join([str(Path(qmodels.__file__).parents[1]), str(site)])
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


def names_and_errors(site: Path) -> tuple[list[str], list[str]]:
    """Lines that a fresh process prints of all variants, and those of its standard error."""
    script = (
        "from qmodels import variants\n"
        "for _ in range(2): known = variants.all_variants()\n"
        "print('fp32', *(f'{name}: {one.unavailable_reason()}' for name, one in known.items()"
        " if not one.quantize.__module__.startswith('qmodels')), sep='\\n')"
    )
    child = python(site, "-c", script)
    assert child.returncode == 0, child.stderr
    return child.stdout.splitlines()[1:], child.stderr.splitlines()


def broken(package: str, error: str) -> str:
    return (
        f"qmodels: entry point point of package my-{package} is broken and its variants are left "
        f"out ({error}): fix or uninstall my-{package}"
    )


def test_broken_packages_cost_their_own_variants_and_a_line_each(site: Path) -> None:
    install(site, "working", WORKING.format(extra=None))
    # What was registered before the error goes with it; what another module registered stays.
    taken = WORKING.replace("mine", "gone").format(extra=None)
    install(site, "twice", taken + WORKING.replace("mine", "fp32").format(extra=None))
    install(site, "importing", "import working, nobody_has_this")
    install(site, "unreadable", "def")
    install(site, "leaving", "raise SystemExit('no licence')")
    names, errors = names_and_errors(site)
    assert names == ["mine: nobody_has_it is not installed: pip install my-working"]
    assert sorted(errors) == [
        broken("importing", "ModuleNotFoundError: No module named 'nobody_has_this'"),
        broken("leaving", "SystemExit: no licence"),
        broken("twice", "UserError: variant 'fp32' is defined twice: rename one of them"),
        broken("unreadable", "SyntaxError: invalid syntax (unreadable.py, line 1)"),
    ]


def test_what_another_package_needs_is_an_extra_of_it(site: Path) -> None:
    install(site, "working", WORKING.format(extra="'fast'"))
    names, errors = names_and_errors(site)
    assert names == ["mine: nobody_has_it is not installed: pip install 'my-working[fast]'"]
    assert errors == []


def test_the_command_line_goes_on_without_a_broken_package(site: Path) -> None:
    install(site, "unreadable", "def")
    child = python(site, "-m", "qmodels", "build", "--dataset=digits", "--variants=unreadable")
    assert child.returncode == 2
    warned, said = child.stderr.splitlines()
    assert warned == broken("unreadable", "SyntaxError: invalid syntax (unreadable.py, line 1)")
    assert said.startswith("qmodels: unknown variant 'unreadable': choose from fp32, ")


def test_a_backend_and_a_variant_of_another_package_build_an_artifact_and_run_it(
    site: Path, digits_checkpoint: Checkpoint
) -> None:
    install(site, "runtime", RUNTIME)
    child = python(site, "-c", RUN, str(digits_checkpoint.path))
    assert child.returncode == 0, child.stderr
    told = json.loads(child.stdout)
    assert 0 < told.pop("difference") < 0.05
    assert told == {
        "last": "half-weights",
        "opened": True,
        "files": ["manifest.json", "model.pt"],
        "source": True,
        "kernels": 37,
    }


def test_select_keeps_the_order_asked_for() -> None:
    chosen = variants.select("static-int8, fp32,static-int8")
    assert [variant.name for variant in chosen] == ["static-int8", "fp32"]


@pytest.mark.parametrize("names", ["fp64", "fp32,int4", "", " , "])
def test_an_unknown_variant_is_refused_with_the_known_ones(names: str) -> None:
    with pytest.raises(UserError, match="choose from fp32, dynamic-fp16"):
        variants.select(names)


def test_a_variant_without_its_runtime_says_what_to_install(
    digits_network: Network,
) -> None:
    def runs_elsewhere(model: nn.Module) -> nn.Module:
        return model

    variant = variants.Variant(
        runs_elsewhere,
        eager.BACKEND,
        "runs where a package is that nobody has",
        requires=("a_package_that_nobody_has",),
        extra="elsewhere",
    )
    nobody = "a_package_that_nobody_has is not installed: pip install a_package_that_nobody_has"
    with pytest.raises(Unavailable, match=f"runs-elsewhere: {nobody}"):
        variants.build(variant, digits_network)


def test_a_name_that_is_taken_is_refused() -> None:
    taken = variants.all_variants()["fp32"].quantize
    register = variants.variant(backend=eager.BACKEND, summary="the same")
    with pytest.raises(UserError, match="variant 'fp32' is defined twice: rename one of them"):
        register(taken)


def test_what_is_ours_to_install_is_an_extra_of_the_checkout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    obstacle = variants.all_variants()["onnx-int8"].obstacle()
    command = "pip install -e '.[onnx]' -c baselines/constraints.txt"
    assert obstacle == Obstacle(f"onnx is not installed: {command}", fixable=True)
    monkeypatch.setattr(packages, "CHECKOUT", tmp_path)  # installed without one
    said = variants.all_variants()["onnx-int8"].unavailable_reason()
    assert said == "onnx is not installed: pip install 'pytest-qmodels[onnx]'"


def test_a_check_that_raises_is_the_variants_own_obstacle() -> None:
    def unfit() -> Obstacle | None:
        raise KeyError("avx")

    fp32 = dataclasses.replace(variants.all_variants()["fp32"], unfit=unfit)
    reason = fp32.unavailable_reason()
    assert reason is not None
    assert "(KeyError: 'avx'): fix `unfit` in qmodels.variants" in reason
    assert len(reason.splitlines()) == 1
