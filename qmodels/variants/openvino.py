"""OpenVINO: the float graph, and NNCF's post-training quantization of it."""

import logging
from typing import Any

from torch import Tensor

from qmodels import engines
from qmodels.fusion import fuse
from qmodels.resnet import Resnet34
from qmodels.runtimes import onnx_graph
from qmodels.runtimes.openvino import IR
from qmodels.variants.registry import variant

REQUIRES = ("openvino", "nncf", "onnx", "onnxscript")


@variant(
    "openvino-fp32",
    engine="openvino",
    summary="the fused float model",
    format=IR,
    requires=REQUIRES,
    extra="openvino",
)
def openvino_fp32(model: Resnet34, calibration: Tensor | None) -> Any:
    """Batch norms folded before; by way of ONNX, whose nodes have the names of layers."""
    import openvino

    return openvino.Core().read_model(onnx_graph.export(fuse(model)).SerializeToString())


@variant(
    "openvino-int8",
    engine="openvino",
    summary="int8 by NNCF",
    format=IR,
    arithmetic="int8",
    int8_share=1.0,
    calibrates=True,
    requires=REQUIRES,
    extra="openvino",
)
def openvino_int8(model: Resnet34, calibration: Tensor | None) -> Any:
    """Ranges from histograms; weights get seven bits where the runtime saturates.

    NNCF's default ranges, means of each image's extremes, lose 0.7 points on CIFAR-100 at width
    16 (17 dB of the logits); histograms lose 0.01 (28 dB).
    """
    import nncf
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    assert calibration is not None
    nncf.set_log_level(logging.ERROR)
    overflow = nncf.OverflowFix
    return nncf.quantize(
        openvino_fp32(model, None),
        nncf.Dataset(list(calibration.numpy()[:, None])),
        preset=nncf.QuantizationPreset.MIXED,
        target_device=nncf.TargetDevice.CPU,
        subset_size=len(calibration),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            overflow_fix=overflow.ENABLE if engines.saturates("openvino") else overflow.DISABLE,
            activations_range_estimator_params=RangeEstimatorParametersSet.HISTOGRAM,
        ),
    )
