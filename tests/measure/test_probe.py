import ast
import inspect

import torch

from qmodels.measure import memory, probe


def test_the_probe_runs_both_kinds_of_kernels() -> None:
    rows = {row.name: row.calls for row in memory.profile(probe.probe(), torch.zeros(1)).rows}
    assert rows["aten::conv2d"] == len(probe.SHAPES)
    if torch.backends.mkldnn.is_available():
        assert rows["onednn::qconv_pointwise"] == len(probe.SHAPES)


def test_nothing_of_the_networks_is_in_it() -> None:
    imported = {
        name.name
        for node in ast.walk(ast.parse(inspect.getsource(probe)))
        if isinstance(node, ast.ImportFrom | ast.Import)
        for name in node.names
    }
    assert imported == {"torch", "Tensor", "nn", "ForwardFn"}
