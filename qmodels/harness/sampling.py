"""Time cases in as many fresh processes as the gate's rules ask for."""

from collections.abc import Callable, Mapping, Sequence

from qmodels.base.arms import Arm, time_arms
from qmodels.gate import latency, sequential
from qmodels.gate.latency import REFERENCE, Timings
from qmodels.gate.sequential import Case, Rule, Samples
from qmodels.measure.latency import log_ratio
from qmodels.measure.latency_worker import PROBE


def measure(
    cases: Sequence[Case],
    head: Arm,
    base: Arm | None,
    rules: Mapping[Case, Rule],
    threads: int,
    *,
    to_store: bool,
    on_draw: Callable[[int, int], None] = lambda cases, least: None,
) -> dict[Case, Timings]:
    """Time every case in fresh processes, as many as the rules ask for.

    A case is given up if its model fails, or one that it is compared with.

    Args:
        base: what to take turns with; the rules are then about changes against it.
        rules: of the cases that are judged.
        to_store: no rules but a fixed number of processes, as a baseline wants them.
        on_draw: called with the number of cases before each process, and with the least number of
            processes that there will be.

    Raises:
        UserError: the process of a whole side failed.
    """
    timings = {case: Timings() for case in cases}
    rules = dict(rules)

    def draw(wanted: Sequence[Case]) -> dict[Case, float]:
        alive = [case for case in wanted if timings[case].failure is None]
        if not alive:
            return {}
        on_draw(len(alive), latency.STORED_PROCESSES if to_store else sequential.SCREEN.first)
        # Against a base revision, only the first processes also give ratios.
        ratios = base is None or not timings[alive[0]].x_probe
        others = [PROBE, REFERENCE] if ratios else []
        by_size = {
            size: list(dict.fromkeys([*others, *(case[0] for case in alive if case[1] == size)]))
            for size in dict.fromkeys(size for _, size in alive)
        }
        times = time_arms([side for side in (head, base) if side], by_size, threads)
        samples = {}
        for case in alive:
            name, size = case
            into = timings[case]
            for needed in [*others, name]:
                into.failure = into.failure or times.failures.get(needed)
            if into.failure:
                rules.pop(case, None)  # without one it is not drawn again
                continue
            head_times = times.arms[0]
            seconds = head_times[case]
            into.seconds += seconds.ravel().tolist()
            if ratios:
                into.x_probe.append(log_ratio(seconds, head_times[PROBE, size]))
            if ratios and name != REFERENCE:
                into.x_fp32.append(log_ratio(seconds, head_times[REFERENCE, size]))
            if base:
                base_seconds = times.arms[1][case]
                into.base_seconds += base_seconds.ravel().tolist()
                into.changes.append(log_ratio(seconds, base_seconds))
            samples[case] = (into.changes or into.x_fp32 or into.x_probe)[-1]
        return samples

    if to_store:
        drawn = {case: Samples(()) for case in cases}
        for _ in range(latency.STORED_PROCESSES):
            draw(cases)
    else:
        drawn = sequential.run(cases, draw, rules)
    for case, into in timings.items():
        into.screened = latency.STORED_PROCESSES if to_store else len(drawn[case].screened)
    return timings
