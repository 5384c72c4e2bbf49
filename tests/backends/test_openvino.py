import numpy as np
import pytest

from qmodels.backends.openvino import compile_network, dequantize_linear_weights

openvino = pytest.importorskip("openvino")


def test_weights_of_linear_layers_are_multiplied_out_in_a_copy() -> None:
    from openvino import opset13

    levels = np.arange(12, dtype=np.int8).reshape(3, 4) - 6
    scales = np.asarray([[0.5], [2.0], [1.0]], np.float32)
    images = opset13.parameter([2, 4], np.float32)
    weights = opset13.multiply(
        opset13.convert(opset13.constant(levels), "f32"), opset13.constant(scales)
    )
    product = opset13.matmul(images, weights, transpose_a=False, transpose_b=True)
    model = openvino.Model([product], [images], "linear")
    copy = dequantize_linear_weights(model)
    kinds = [[node.get_type_name() for node in graph.get_ordered_ops()] for graph in (model, copy)]
    assert "Convert" in kinds[0]
    assert "Convert" not in kinds[1]
    x = np.asarray([[1, 2, 3, 4], [0, -1, 0, 1]], np.float32)
    (logits,) = compile_network(copy)([x]).values()
    np.testing.assert_allclose(logits, x @ (levels * scales).T, rtol=1e-6)
