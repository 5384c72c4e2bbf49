"""Proof that a variant is what it claims: its int8 kernels ran, and they computed right.

What a build returns proves nothing: a graph that lost its int8 patterns runs as well, in float.
And int8 kernels can saturate silently (see ``torch_engine.int8_saturates``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from qmodels.backends.base import Kernel
from qmodels.measure.metric import Metric
from qmodels.measure.metrics import INT8_MACS, RUNTIME_SQNR
from qmodels.network.evaluation import not_finite, sqnr_db
from qmodels.variants import Variant

# How much more noise a runtime may add than quantization does: of rounding order and of what it
# keeps unrounded in between. One that saturates adds ten times as much.
_MARGIN_DB = 3.0


@dataclass(frozen=True)
class KernelReport:
    """The arithmetic and the noise of a forward.

    Attributes:
        int8_fraction: of the network's multiply-accumulates, that ran in int8.
        not_finite: how many images have outputs that are not finite, in a line; None without.
        runtime_sqnr_db: of the logits against the same model's in reference arithmetic; None
            where there is no such model.
        quantization_sqnr_db: of those against float32's.
    """

    int8_fraction: float
    not_finite: str | None
    runtime_sqnr_db: float | None
    quantization_sqnr_db: float | None

    def metrics(self) -> dict[str, Metric]:
        """Metrics for a run record."""
        metrics = {INT8_MACS.name: INT8_MACS.of(self.int8_fraction)}
        if self.runtime_sqnr_db is not None:
            metrics[RUNTIME_SQNR.name] = RUNTIME_SQNR.of(self.runtime_sqnr_db)
        return metrics


def report(
    ran: Sequence[Kernel], macs: int, logits: Tensor, reference: Tensor | None, fp32: Tensor
) -> KernelReport:
    """Combine the kernels of a forward of one image with the logits of more images.

    Args:
        logits: of the runtime, (N, classes) float32.
        reference: of the same model in reference arithmetic, for the same images.
        fp32: of the float model.
    """
    return KernelReport(
        int8_fraction=sum(kernel.macs for kernel in ran if kernel.int8) / macs,
        not_finite=not_finite(logits),
        runtime_sqnr_db=None if reference is None else sqnr_db(logits, reference),
        quantization_sqnr_db=None if reference is None else sqnr_db(reference, fp32),
    )


def check(variant: Variant, report: KernelReport, *, claimed: bool = True) -> str | None:
    """Why a variant is not what it claims to be, in a line; None where it is.

    Args:
        claimed: whether the variant's share of int8 is claimed for this network. If not, any share
            is right that is not 0: a runtime may have no int8 kernel for some of its layers.
    """
    if report.not_finite:
        return f"{variant.name}: {report.not_finite}"
    if claimed and report.int8_fraction < variant.int8_share:
        return (
            f"{variant.name} ran {100 * report.int8_fraction:.1f} % of its multiply-accumulates in "
            f"int8 and claims {100 * variant.int8_share:.0f} %: its kernels fell back to float"
        )
    if report.int8_fraction == 0 < variant.int8_share:
        return (
            f"{variant.name} ran none of its multiply-accumulates in int8: its kernels fell back "
            "to float, or have no int8 for layers of this network"
        )
    runtime, quantization = report.runtime_sqnr_db, report.quantization_sqnr_db
    if runtime is None or quantization is None or runtime >= quantization - _MARGIN_DB:
        return None
    return (
        f"{variant.name}: {variant.engine}'s kernels add more noise ({runtime:.1f} dB) than "
        f"quantization does ({quantization:.1f} dB): they saturate, and it was calibrated without "
        "the guard"
    )
