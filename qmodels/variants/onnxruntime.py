"""ONNX Runtime: the float graph, and its own static quantization of it.

Activations uint8 and weights int8, per channel, as quantize and dequantize nodes (QDQ) that the
session joins with convolutions. Signed activations (s8s8) are slower than float where there is no
VNNI.
"""

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from qmodels.backends import onnxruntime
from qmodels.network import onnx_graph
from qmodels.network.fusion import fuse
from qmodels.network.images import BATCH_VALUES, batch_size
from qmodels.variants.registry import variant

if TYPE_CHECKING:
    from onnx import ModelProto

# Ranges that leave out one activation in 100,000 lose less accuracy than the extremes: 26.6 dB
# of the logits instead of 25.0 on CIFAR-100 at width 16.
_PERCENTILE = 99.999
# Images whose activations are kept at a time, all of them, until they are counted: a gigabyte for
# ResNet-34 of width 64. Of larger images fewer.
_CALIBRATION_BATCH = 100
_CALIBRATION_VALUES = BATCH_VALUES // 4


@variant(backend=onnxruntime.BACKEND, summary="the fused float model")
def onnx_fp32(model: nn.Module, example: Tensor) -> "ModelProto":
    """Batch norms folded before the export."""
    return onnx_graph.export(fuse(model), example)


@variant(
    backend=onnxruntime.BACKEND,
    summary="int8 by ONNX Runtime's quantizer (QDQ, u8s8, per channel)",
    arithmetic="int8",
    int8_share=1.0,
)
def onnx_int8(model: nn.Module, calibration: Tensor) -> "ModelProto":
    """Calibrated by percentiles; weights get seven bits where the runtime saturates."""
    import onnx
    from onnxruntime import quantization

    shape = calibration.shape[1:]
    batches = calibration.split(
        batch_size(shape, most=_CALIBRATION_BATCH, values=_CALIBRATION_VALUES)
    )

    class Images(quantization.CalibrationDataReader):  # type: ignore[misc]
        """Batches; the runtime asks for ranges of them, and counts after each."""

        def __len__(self) -> int:
            return len(batches)

        def set_range(self, start_index: int, end_index: int) -> None:
            self.batches = iter(batches[start_index:end_index])

        def get_next(self) -> dict[str, object] | None:
            batch = next(self.batches, None)
            return None if batch is None else {onnx_graph.INPUT: batch.numpy()}

    logging.getLogger().setLevel(logging.ERROR)  # it advises what was done already
    with tempfile.TemporaryDirectory() as scratch:
        before, after = str(Path(scratch, "float.onnx")), str(Path(scratch, "int8.onnx"))
        onnx.save(onnx_graph.export(fuse(model), calibration), before)
        quantization.quantize_static(
            before,
            after,
            Images(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            reduce_range=onnxruntime.BACKEND.saturates(),
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.Percentile,
            # The stride is not for minima and maxima alone: every method counts stride by stride.
            extra_options={"CalibPercentile": _PERCENTILE, "CalibStridedMinMax": 1},
        )
        return onnx.load(after)
