"""What an edit of a file builds anew: on copies of the package, by the files that are read."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import qmodels
from qmodels import variants
from qmodels.network import Network
from qmodels.system import sources
from qmodels.variants import artifact

PACKAGE = Path(qmodels.__file__).parent
# Of a runtime or a family, and of nothing else.
TORCH = {
    "fp32",
    "dynamic-fp16",
    "dynamic-int8",
    "static-int8",
    "static-int8-jit",
    "qat-int8",
    "static-int8-onednn",
    "fx-int8",
    "mixed-int8",
}
COMPILED = {"fp32-compiled", "bf16", "pt2e-int8", "pt2e-qat-int8"}
CUDA = {"cuda-fp32", "cuda-fp16", "cuda-bf16", "cuda-int8"}
ONNX, OPENVINO = {"onnx-fp32", "onnx-int8"}, {"openvino-fp32", "openvino-int8"}
Keys = Callable[[], dict[str, dict[str, str]]]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(
        shutil.copytree(PACKAGE, tmp_path / "qmodels", ignore=shutil.ignore_patterns("__pycache__"))
    )


@pytest.fixture
def keys(copy: Path, digits_network: Network) -> Keys:
    """Of every variant, what of the copy's code its key holds."""

    def read() -> dict[str, dict[str, str]]:
        return {
            name: sources.digest_imports(
                [function.__module__ for function in artifact.makers(variant, digits_network)],
                {"qmodels": copy.parent},
            )
            for name, variant in variants.all_variants().items()
        }

    return read


def edit(path: Path) -> None:
    path.write_text(path.read_text() + "\n# an edit\n")


def rebuilt(before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def test_an_edit_of_what_makes_no_artifact_builds_nothing_anew(copy: Path, keys: Keys) -> None:
    before = keys()
    edited = [copy / "__main__.py"]
    for part in ("cli", "harness", "base", "report", "gate", "measure"):
        edited += (copy / part).rglob("*.py")
    assert len(edited) > 30
    for path in edited:
        edit(path)
    assert rebuilt(before, keys()) == set()


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("backends/onnxruntime.py", ONNX),
        ("backends/openvino.py", OPENVINO),
        ("network/onnx_graph.py", ONNX | OPENVINO | {"tensorrt-int8"}),
        ("backends/inductor.py", COMPILED),
        ("backends/packed.py", {"weight-int4"}),
        ("backends/torch_engine.py", TORCH | CUDA | {"weight-int4"}),
        ("nvidia/triton_int8.py", CUDA),
        ("nvidia/integer_network.py", CUDA),
        ("nvidia/tensorrt.py", {"tensorrt-int8"}),
        ("variants/pt2e.py", {"pt2e-int8", "pt2e-qat-int8"}),
        ("variants/onnxruntime.py", ONNX),
        ("variants/weight_only.py", {"weight-int4"}),
        ("quantize/sensitivity.py", {"mixed-int8"}),
    ],
)
def test_an_edit_of_a_runtime_or_a_family_builds_what_is_of_it(
    file: str, expected: set[str], copy: Path, keys: Keys
) -> None:
    before = keys()
    edit(copy / file)
    assert rebuilt(before, keys()) == expected


@pytest.mark.parametrize(
    "file",
    [
        "data/dataset.py",
        "network/resnet.py",
        "variants/build_worker.py",
        "variants/registry.py",
        "backends/base.py",
        "__init__.py",
    ],
)
def test_an_edit_of_what_every_artifact_is_made_with_builds_all(
    file: str, copy: Path, keys: Keys
) -> None:
    before = keys()
    edit(copy / file)
    assert rebuilt(before, keys()) == set(before)


def test_a_key_is_that_of_the_package_in_use(
    copy: Path, keys: Keys, digits_network: Network
) -> None:
    variant = variants.all_variants()["onnx-int8"]
    assert sources.import_digests(artifact.makers(variant, digits_network)) == keys()["onnx-int8"]


def test_every_runtime_is_read_by_what_it_stores(keys: Keys) -> None:
    """What is imported by a name made at run time would be missed."""
    read = set().union(*keys().values())
    for path in (PACKAGE / "backends").glob("*.py"):
        assert path.stem == "__init__" or f"qmodels.backends.{path.stem}" in read


@pytest.fixture
def other(tmp_path: Path) -> dict[str, Path]:
    """Another package, whose names come by way of its own ``__init__``."""
    files = {
        "other/__init__.py": "from .helper import help\nfrom . import unused\nfrom . import _C\n",
        "other/helper.py": "import os\nfrom other.deep.deeper import deepest as help\n",
        "other/deep/deeper.py": "",
        "other/unused.py": "",
        "other/broken.py": "not Python",
        "other/mine.py": "from . import help\ndef f():\n    import other.broken, elsewhere.x\n",
        "other/whole.py": "import other\nfrom qmodels import store\n",
        "elsewhere/x.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return {"other": tmp_path}


def test_a_name_is_followed_to_where_it_is_defined(other: dict[str, Path]) -> None:
    digests = sources.digest_imports(["other.mine"], other)
    # Read are the packages on the way too; of another package nothing.
    assert list(digests) == [
        "other",
        "other.broken",
        "other.deep.deeper",
        "other.helper",
        "other.mine",
    ]


def test_a_package_that_is_used_whole_is_followed_whole(other: dict[str, Path]) -> None:
    assert "other.unused" in sources.digest_imports(["other.whole"], other)
