import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from qmodels.backends import compiler, inductor
from qmodels.backends.base import Stored
from qmodels.measure import kernels
from qmodels.network.layers import executed
from qmodels.network.resnet import random_images
from qmodels.system import files, machine, store, worker
from qmodels.system.errors import UserError
from qmodels.variants import all_variants
from tests.conftest import Files

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    return nn.Sequential(layers, nn.Linear(16, 4)).eval()


@pytest.fixture(scope="module")
def packages(network: nn.Module, cache: Path) -> Stored:
    """Of one image and of many, compiled once for all tests.

    The path of temporary files has a space, at which Inductor splits the compiler's command.
    """
    if not compiler.path():
        pytest.skip("needs a C++ compiler")
    folder, temporary = cache / "packages", cache / "temporary files"
    with files.lock(folder), pytest.MonkeyPatch.context() as patch:
        if not folder.exists():
            temporary.mkdir(exist_ok=True)
            patch.setattr(tempfile, "tempdir", str(temporary))
            exported = inductor.export(network, random_images(2), also_single=True)
            before = os.environ.get(store.INDUCTOR_CACHE)  # torch sets one of its own
            unfinished = Path(tempfile.mkdtemp())
            inductor.BACKEND.save(exported, unfinished)
            assert os.environ.get(store.INDUCTOR_CACHE) == before
            unfinished.rename(folder)
    return Files(folder, nn.Identity)


def test_one_image_and_many_have_graphs_of_their_own(
    network: nn.Module, packages: Stored, tmp_path: Path
) -> None:
    assert {path.name for path in packages.folder.iterdir()} == {inductor.SINGLE, inductor.MANY}
    forward, images = inductor.BACKEND.load(packages), random_images(5)
    with torch.inference_mode():
        for count in (1, 2, 5):
            expected = network(images[:count])
            torch.testing.assert_close(forward(images[:count]), expected, rtol=1e-4, atol=1e-5)
    # What runs is the package that is there: without the second, the first takes single images.
    shutil.copy(packages.folder / inductor.MANY, tmp_path)
    assert len(inductor.BACKEND.load(Files(tmp_path, nn.Identity))(images[:1])) == 1


@pytest.mark.parametrize("count", [1, 3])
def test_a_profile_names_the_layers_of_either_graph(
    count: int, network: nn.Module, packages: Stored
) -> None:
    images = random_images(count)
    forwards = inductor.BACKEND.profile(packages, executed(network, images), images, 4)
    assert forwards is not None
    assert len(forwards) == 4
    for forward in forwards:
        named = [step.layer for step in forward.steps if step.layer]
        # Such a small product may be compiled, or be MKL's in torch 2.8.
        may_lack_product = count == 1 or torch.__version__ < "2.9"
        assert named == ["0.0", "1"] or (may_lack_product and named == ["0.0"])
        assert all(0 <= step.start < forward.seconds for step in forward.steps)
        assert sum(step.seconds for step in forward.steps) < forward.seconds


def test_a_graph_that_runs_in_float_is_caught(packages: Stored) -> None:
    forward, images = inductor.BACKEND.load(packages), random_images(1)
    with torch.inference_mode():
        logits = forward(images)
    ran = inductor.BACKEND.kernels(forward, packages, images)
    macs = 16 * 3 * 9 * 32 * 32 + 16 * 4
    doubt = kernels.check(
        all_variants()["pt2e-int8"], kernels.report(ran, macs, logits, None, logits)
    )
    assert "pt2e-int8 ran 0.0 % of its multiply-accumulates in int8" in str(doubt)


# In a process of its own, since oneDNN reads once which instructions it may use. The build has more
# threads than the forward. Which graph is faster depends on what else the machine does.
SINGLE_IMAGE = """
import sys
from pathlib import Path
import torch
from torch import nn
from qmodels.backends import inductor, onednn_log
from qmodels.network.resnet import random_images

torch.manual_seed(0)
layers = [nn.Conv2d(3, 32, 3, 2, 1), nn.Conv2d(32, 64, 3, 2, 1), nn.Conv2d(64, 64, 3, padding=1)]
network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 8 * 8, 4)).eval()
torch.set_num_threads(2)
inductor.fastest = lambda forwards, images: forwards[1]
folder = Path(sys.argv[1])
inductor.BACKEND.save(inductor.export(network, random_images(2), also_single=True), folder)
assert torch.get_num_threads() == 2
images = random_images(1)
for threads in (1, 2):
    torch.set_num_threads(threads)
    forward = inductor.BACKEND.load(Files(folder, nn.Identity))
    with torch.inference_mode():
        torch.testing.assert_close(forward(images), network(images), rtol=1e-4, atol=1e-5)
        log = onednn_log.primitives(onednn_log.logged(lambda: forward(images)))
    print(threads, *sorted({each.operation for each in log if "reorder" in each.operation}))
"""


@pytest.mark.skipif("avx2" not in machine.cpu_flags(), reason="needs AVX2")
def test_weights_lie_as_a_single_image_wants_them_on_avx2(tmp_path: Path) -> None:
    """There, oneDNN's layout depends on the number of threads. Its reference kernel, ``simple``,
    took thirty times as long as the forward to change it.
    """
    script = f"from tests.conftest import Files{SINGLE_IMAGE}"
    ended = worker.run(
        *(sys.executable, "-c", script, str(tmp_path)),
        timeout=200,
        folder=ROOT,
        environment={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"},
    )
    one, two = ended.stdout.decode().splitlines()
    assert one == "1", "a single thread finds the weights as it wants them"
    assert two == "2 reorder jit:uni", "with other threads, whichever graph is faster runs"


def test_the_fastest_is_fast_on_most_forwards_but_the_first() -> None:
    """A graph's first forwards prepare its kernels, and other work delays some more."""
    calls = 0

    def delayed_at_first(images: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        time.sleep(0.02 if calls <= 8 else 0)
        return images

    def slow(images: Tensor) -> Tensor:
        time.sleep(0.005)
        return images

    assert inductor.fastest((slow, delayed_at_first), random_images(1)) is delayed_at_first
    assert inductor.fastest((delayed_at_first, slow), random_images(1)) is delayed_at_first


def test_a_library_that_may_not_run_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from a TMPDIR of a mount without execution, which holds it while it runs."""

    def load(*arguments: object) -> None:
        raise RuntimeError("Error in dlopen: many.so: failed to map segment from shared object")

    monkeypatch.setattr(torch._C._aoti, "AOTIModelPackageLoader", load)
    with pytest.raises(UserError, match=rf"{inductor.MANY} can't be loaded .*: set TMPDIR"):
        inductor.BACKEND.load(Files(tmp_path, nn.Identity))
