"""Profiled forwards as a trace that Perfetto and chrome://tracing open.

The format: "Trace Event Format", complete events, whose times are in microseconds.
"""

import json
from collections.abc import Iterable
from typing import Any

from qmodels.backends.base import ProfiledForward

PROCESS, THREAD = 1, 1


def trace_json(name: str, forwards: Iterable[ProfiledForward]) -> str:
    """A track of forwards one after the other, each with its steps.

    Args:
        name: of the track.
    """
    events: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "pid": PROCESS, "args": {"name": "qmodels"}},
        {"ph": "M", "name": "thread_name", "pid": PROCESS, "tid": THREAD, "args": {"name": name}},
    ]
    began = 0.0
    for number, forward in enumerate(forwards, 1):
        events.append(event(f"forward {number}", "forward", began, forward.seconds))
        for step in forward.steps:
            kind = "other" if step.layer is None else "layer"
            shown = step.layer or step.operation
            events.append(
                event(shown, kind, began + step.start, step.seconds, operation=step.operation)
            )
        began += forward.seconds
    return json.dumps({"displayTimeUnit": "ms", "traceEvents": events})


def event(name: str, kind: str, start: float, seconds: float, **facts: str) -> dict[str, Any]:
    """A slice of the track; start and duration in seconds."""
    return {
        "ph": "X",
        "name": name,
        "cat": kind,
        "pid": PROCESS,
        "tid": THREAD,
        "ts": 1e6 * start,
        "dur": 1e6 * seconds,
        "args": facts,
    }
