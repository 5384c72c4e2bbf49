"""OpenVINO: the float graph, and NNCF's post-training quantization of it."""

import logging
from typing import Any

from torch import Tensor, nn

from qmodels.backends import openvino
from qmodels.network import onnx_graph
from qmodels.network.fusion import fuse
from qmodels.variants.registry import variant


@variant(backend=openvino.BACKEND, summary="the fused float model")
def openvino_fp32(model: nn.Module, example: Tensor) -> Any:
    """Batch norms folded before; by way of ONNX, whose nodes have the names of layers."""
    from openvino import Core

    return Core().read_model(onnx_graph.export(fuse(model), example).SerializeToString())


@variant(backend=openvino.BACKEND, summary="int8 by NNCF", arithmetic="int8", int8_share=1.0)
def openvino_int8(model: nn.Module, calibration: Tensor) -> Any:
    """Ranges from histograms; weights get seven bits where the runtime saturates.

    NNCF's default ranges, means of each image's extremes, lose 0.7 points on CIFAR-100 at width
    16 (17 dB of the logits); histograms lose 0.01 (28 dB).
    """
    import nncf
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    nncf.set_log_level(logging.ERROR)
    overflow = nncf.OverflowFix
    return nncf.quantize(
        openvino_fp32(model, calibration),
        nncf.Dataset(list(calibration.numpy()[:, None])),
        preset=nncf.QuantizationPreset.MIXED,
        target_device=nncf.TargetDevice.CPU,
        subset_size=len(calibration),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            overflow_fix=overflow.ENABLE if openvino.BACKEND.saturates() else overflow.DISABLE,
            activations_range_estimator_params=RangeEstimatorParametersSet.HISTOGRAM,
        ),
    )
