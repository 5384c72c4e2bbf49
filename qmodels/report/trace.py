"""Profiled forwards as a trace that Perfetto and chrome://tracing open.

The format: "Trace Event Format", complete events, whose times are in microseconds.
"""

import json
from collections.abc import Iterable
from typing import Any

from qmodels.backends.base import ProfiledForward

_PROCESS, _THREAD = 1, 1


def trace_json(track: str, forwards: Iterable[ProfiledForward]) -> str:
    """A track of forwards one after the other, each with its steps."""
    events: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "pid": _PROCESS, "args": {"name": "qmodels"}},
        {
            "ph": "M",
            "name": "thread_name",
            "pid": _PROCESS,
            "tid": _THREAD,
            "args": {"name": track},
        },
    ]
    began = 0
    for number, forward in enumerate(forwards, 1):
        ended = began + _nanoseconds(forward.seconds)
        events.append(_event(f"forward {number}", "forward", began, ended))
        for step in forward.steps:
            kind = "other" if step.layer is None else "layer"
            name = step.layer or step.operation
            start = began + _nanoseconds(step.start)
            end = min(ended - 1, began + _nanoseconds(step.start + step.seconds))
            events.append(_event(name, kind, start, end, operation=step.operation))
        began = ended
    return json.dumps({"displayTimeUnit": "ms", "traceEvents": events})


def _nanoseconds(seconds: float) -> int:
    """A time in whole nanoseconds, the least that Perfetto distinguishes."""
    return round(1e9 * seconds)


def _event(name: str, kind: str, start: int, end: int, **facts: str) -> dict[str, Any]:
    """A slice of the track; start and end in nanoseconds.

    It ends a nanosecond early. Readers add start and duration in floating point. A sum beyond the
    start of the next slice would make that slice a part of this one.
    """
    return {
        "ph": "X",
        "name": name,
        "cat": kind,
        "pid": _PROCESS,
        "tid": _THREAD,
        "ts": start / 1000,
        "dur": max(0, end - start - 1) / 1000,
        "args": facts,
    }
