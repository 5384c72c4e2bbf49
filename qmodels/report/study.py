"""The study that qmodels repeats: its numbers beside those of a run.

The study quantized ResNet-34, trained on CIFAR-100, with torch 2.0 on an Intel Xeon at 2.20 GHz
with 4 cores. Numbers here are as it prints them; its memory is in the profiler's Mb, 2**20 bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qmodels.gate import Run
from qmodels.measure.metrics import LATENCY, LATENCY_RATIO, SIZE, TOP1, TOP5_ERROR
from qmodels.measure.operators import Row
from qmodels.report.speed import speeds
from qmodels.report.table import markdown, value

_EMPTY, _QUANTIZED = "aten::empty", "aten::_empty_affine_quantized"
_MEBIBYTE = 2**20


@dataclass(frozen=True)
class Model:
    """One model of the study.

    Attributes:
        size_mb: 10**6 bytes.
        top1: percent.
        top5_error: percent.
        latency_ms: of one image.
        memory_mb: the study's "memory": the sum over ``memory_rows`` of the profiler's table.
        operators: rows of that table, Mb and calls by operator.
    """

    name: str
    variant: str
    size_mb: float
    top1: float
    top5_error: float
    latency_ms: float
    memory_mb: float
    memory_rows: tuple[str, ...]
    operators: Mapping[str, tuple[float, int]]


# Rows of the profiler's tables that all three float models share.
_FLOAT_OPERATORS = {
    "aten::conv2d": (3.91, 36),
    "aten::convolution": (3.91, 36),
    "aten::_convolution": (3.91, 36),
    "aten::batch_norm": (3.91, 36),
    "aten::_batch_norm_impl_index": (3.91, 36),
    "aten::native_batch_norm": (3.91, 36),
    "aten::empty_like": (3.91, 36),
    "aten::mkldnn_convolution": (2.75, 17),
    "aten::add": (1.72, 16),
}
BASELINE = Model(
    "Baseline",
    "fp32",
    85.5,
    73.15,
    6.75,
    53.55,
    14.19,
    (_EMPTY,),
    {_EMPTY: (14.19, 288), **_FLOAT_OPERATORS},
)
MODELS = (
    BASELINE,
    Model(
        "Dynamic Float16",
        "dynamic-fp16",
        85.5,
        73.15,
        6.75,
        47.17,
        14.18,
        (_EMPTY,),
        {_EMPTY: (14.18, 289), **_FLOAT_OPERATORS},
    ),
    Model(
        "Dynamic Int8",
        "dynamic-int8",
        85.3,
        73.03,
        6.73,
        49.10,
        14.07,
        (_EMPTY,),
        {_EMPTY: (14.07, 290), **_FLOAT_OPERATORS, "aten::empty_like": (3.91, 37)},
    ),
    Model(
        "Static Int8 (JIT)",
        "static-int8-jit",
        21.6,
        73.09,
        6.77,
        20.55,
        5.75,
        (_EMPTY, _QUANTIZED, "quantized::conv2d_relu"),
        {
            _EMPTY: (3.84, 38),
            _QUANTIZED: (1.41, 55),
            "quantized::conv2d_relu": (501 / 1024, 17),
            "quantized::conv2d": (24 / 1024, 19),
            "aten::quantize_per_tensor": (3 / 1024, 1),
        },
    ),
)
# What the study tried and could not do: it ran out of GPU memory.
_QUANTIZATION_AWARE = "qat-int8"
# Rows of the short table.
_COMPARED = (
    "fp32",
    "dynamic-int8",
    "static-int8-jit",
    _QUANTIZATION_AWARE,
    "onnx-int8",
    "openvino-int8",
)


@dataclass(frozen=True)
class Quantity:
    """One number of the study's table: the study's value and the run's, None if not measured."""

    name: str
    study: float
    here: float | None
    digits: int

    def cells(self) -> list[str]:
        """The study's value, the run's, and the difference."""
        shown = f"{self.study:.{self.digits}f}"
        if self.here is None:
            return [self.name, shown, "-", "-"]
        difference = f"{self.here - self.study:+.{self.digits}f}"
        return [self.name, shown, f"{self.here:.{self.digits}f}", difference]


def study_report(run: Run, weights: str | None) -> str:
    """The study's table and the profiler's, number by number, as Markdown."""
    rows = [
        [model.name if index == 0 else "", *quantity.cells()]
        for model in MODELS
        for index, quantity in enumerate(quantities(model, run))
    ]
    tables = [_operator_table(model, run) for model in MODELS if profile(model, run)]
    parts = [
        "## The study and this run",
        _comparison_table(run),
        "### Number by number",
        markdown(["Model", "Quantity", "Study", "Here", "Difference"], rows),
        _quantization_aware(run),
        "### What differs",
        "\n".join(f"- {line}" for line in _differences(run, weights)),
        *(["### The profiler's tables", *tables] if tables else []),
    ]
    return "\n\n".join(part for part in parts if part)


def _comparison_table(run: Run) -> str:
    of_study = {model.variant: model for model in MODELS}
    fastest = speeds(run).get(1, {})
    rows = []
    for variant in _COMPARED:
        model, speed = of_study.get(variant), fastest.get(variant)
        size = value(run, variant, SIZE)
        rows.append(
            [
                f"`{variant}`",
                *_numbers(
                    size / SIZE.divisor if size else None,
                    model.size_mb if model else None,
                    digits=1,
                ),
                *_numbers(value(run, variant, TOP1), model.top1 if model else None),
                *_numbers(
                    speed.milliseconds if speed else None, model.latency_ms if model else None
                ),
                *_numbers(
                    speed.over_fp32 if speed else None,
                    BASELINE.latency_ms / model.latency_ms if model else None,
                    speed.over_best if speed else None,
                ),
            ]
        )
    headers = ["Variant", SIZE.label, "study", TOP1.label, "study", "1 image (ms)", "study"]
    headers += ["Faster than eager fp32", "study", "than best float32"]
    return markdown(headers, rows)


def _numbers(*values: float | None, digits: int = 2) -> list[str]:
    return ["-" if value is None else f"{value:.{digits}f}" for value in values]


def quantities(model: Model, run: Run) -> list[Quantity]:
    """The numbers of one model."""
    size, ratio = value(run, model.variant, SIZE), None
    if model is BASELINE:
        ratio = 1.0 if value(run, model.variant, LATENCY) else None
    elif latency_ratio := value(run, model.variant, LATENCY_RATIO):
        ratio = 1 / latency_ratio
    return [
        Quantity(SIZE.label, model.size_mb, None if size is None else size / SIZE.divisor, 1),
        Quantity(TOP1.label, model.top1, value(run, model.variant, TOP1), 2),
        Quantity(TOP5_ERROR.label, model.top5_error, value(run, model.variant, TOP5_ERROR), 2),
        Quantity(LATENCY.label, model.latency_ms, value(run, model.variant, LATENCY), 2),
        Quantity("Speed-up", BASELINE.latency_ms / model.latency_ms, ratio, 2),
        Quantity("Memory (Mb)", model.memory_mb, _memory(model, run), 2),
    ]


def profile(model: Model, run: Run) -> Mapping[str, Row]:
    """The profiler's rows of a model, by operator; empty if the run has none."""
    entries = [e for e in run.entries.values() if e.variant == model.variant and e.profile]
    return {row.name: row for entry in entries for row in entry.profile}


def _memory(model: Model, run: Run) -> float | None:
    """The study's "memory" of a model, in Mb: a sum over some rows of the profiler's table."""
    rows = profile(model, run)
    if not rows:
        return None
    return sum(rows[name].cpu_bytes for name in model.memory_rows if name in rows) / _MEBIBYTE


def _quantization_aware(run: Run) -> str:
    """A paragraph on the one model that the study could not make."""
    top1 = value(run, _QUANTIZATION_AWARE, TOP1)
    if top1 is None:
        return ""
    error = value(run, _QUANTIZATION_AWARE, TOP5_ERROR)
    return (
        "Quantization-aware training ran out of GPU memory in the study. "
        f"Here `{_QUANTIZATION_AWARE}` has {top1:.2f} % top-1 and {error:.2f} % top-5 error."
    )


def _differences(run: Run, weights: str | None) -> list[str]:
    entry = next(iter(run.entries.values()))
    versions = entry.provenance.versions
    images = {e.images for e in run.entries.values() if e.images}
    counts = " or ".join(f"{count:,}" for count in sorted(images)) or "no"
    return [
        "Network: ResNet-34 of width 64, CIFAR-100; pre-activation by its text, post-activation by "
        "the layers that it fuses. Here: "
        f"{entry.key.network}.",
        "Training: 60 epochs, batches of 32, learning rate 0.1 throughout, on a GPU. Here: "
        f"{weights or 'another checkpoint, not known on this machine'}.",
        "Calibration: the training split. Here: 1,000 images of it.",
        f"Static int8: fbgemm's kernels and defaults. Here: engine {_static_engine(run)}, ranges "
        "from histograms, a scale for each output channel.",
        f"Accuracy: 10,000 test images. Here: {counts}.",
        f"Processor: Intel Xeon, 2.20 GHz, 4 cores. Here: {entry.machine_class}, "
        f"{_timed_threads(run)}.",
        f"Versions: torch 2.0, Python 3.10. Here: torch {versions.get('torch')}, "
        f"Python {versions.get('python')}.",
        "CPU: milliseconds for one image. Compare the speed-up, not the milliseconds.",
        "Memory: `aten::empty` of the profiler's table; for static int8 also "
        "`aten::_empty_affine_quantized` and `quantized::conv2d_relu`. These are unlike "
        "quantities: `allocated_bytes` of a run compares models.",
    ]


def _static_engine(run: Run) -> str:
    engines = [e.engine for e in run.entries.values() if e.variant == MODELS[-1].variant]
    return engines[0] if engines else "not measured"


def _timed_threads(run: Run) -> str:
    timed = [entry for entry in run.entries.values() if LATENCY.name in entry.metrics]
    if not timed:
        return "no latency measured"
    threads = timed[0].threads
    return f"{threads} thread{'' if threads == 1 else 's'}"


def _operator_table(model: Model, run: Run) -> str:
    rows = profile(model, run)
    cells: list[Sequence[str]] = []
    for name, (size, calls) in model.operators.items():
        here = rows.get(name)
        shown = [f"{here.cpu_bytes / _MEBIBYTE:.2f}", str(here.calls)] if here else ["-", "-"]
        cells.append([f"`{name}`", f"{size:.2f}", shown[0], str(calls), shown[1]])
    headers = [f"{model.name}", "Mb, study", "here", "Calls, study", "here"]
    return markdown(headers, cells)
