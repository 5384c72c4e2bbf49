"""What a run should have measured and did not: stored entries, and variants of the base."""

from collections.abc import Collection, Container
from fnmatch import fnmatch

import pytest

from qmodels import gate, variants
from qmodels.base import checkouts
from qmodels.harness.settings import Settings, stored_by_base
from qmodels.system import machine


def missing_entries(
    config: pytest.Config,
    settings: Settings,
    measured: Container[gate.Key],
    failed: Container[str],
    deselected: Collection[str],
) -> tuple[list[gate.Finding], list[str]]:
    """Findings on stored entries that should have been measured and were not.

    What failed has its reason already, and what the command line left out is not looked at.

    Args:
        failed: node ids of benches.
        deselected: likewise.

    Returns:
        The findings, and a line for each variant that this machine can't run: it is excused.
    """
    if settings.baseline is None or settings.update_baseline:
        return [], []
    known = variants.all_variants()
    findings, excuses = [], {}
    for key, entry in settings.baseline.entries.items():
        if key in measured or entry.nodeid in failed:
            continue
        if entry.nodeid in deselected or is_left_out(entry, config, settings):
            continue
        obstacle = known[key.variant].obstacle() if key.variant in known else None
        if obstacle and not obstacle.fixable:
            excuses[key.variant] = obstacle.reason
            continue
        context = f"{entry.file} has it, and it was not measured"
        if key.variant not in known:
            context = (
                f"{entry.file} has it, and there is no variant {key.variant} any more: restore it, "
                "or drop its entries with --qmodels-update-baseline"
            )
        elif obstacle:
            context += f": {obstacle.reason}"
        findings += [
            gate.Finding(key, entry.name, metric, "missing", metric, context)
            for metric in entry.metrics
            if gate.gates(settings.tolerances, metric, entry)
        ]
    return findings, [f"excused: {name} can't run here: {why}" for name, why in excuses.items()]


def is_left_out(entry: gate.Entry, config: pytest.Config, settings: Settings) -> bool:
    """Whether the command line left out the bench of a stored entry."""
    option, variant = config.option, entry.variant
    file = config.rootpath / entry.nodeid.partition("::")[0]
    if settings.left_out and variant not in settings.variants:
        return True
    if not is_in_paths(entry, config):
        return True
    if any(entry.nodeid.startswith(prefix) for prefix in option.deselect or ()):
        return True
    ignored = [config.invocation_params.dir / path for path in option.ignore or ()]
    if any(path.resolve() in (file, *file.parents) for path in ignored):
        return True
    return any(fnmatch(str(file), pattern) for pattern in option.ignore_glob or ())


def is_in_paths(entry: gate.Entry, config: pytest.Config) -> bool:
    """Whether a path of the command line leads to the bench of a stored entry."""
    file, _, bench = entry.nodeid.partition("::")
    for argument in config.args:
        path, _, asked = argument.partition("::")
        folder = (config.invocation_params.dir / path).resolve()
        here = (config.rootpath / file).resolve()
        if folder in (here, *here.parents) and bench.startswith(asked):
            return True
    return False


def removed_variants(settings: Settings) -> list[str]:
    """A line for each variant that the base has and this code no longer has.

    A removal is accepted where the stored runs of the base have the variant, and those of this code
    have not. So it is where this machine class has a whole run without the variant.
    """
    if settings.base is None or settings.left_out:
        return []
    gone = set(checkouts.variants(settings.base)) - set(variants.all_variants())
    before = stored_by_base(settings, settings.checkpoint) if gone else None
    now = settings.baseline
    if now is not None:
        if machine.machine_class() not in now.partial_for:
            return []
        gone -= {entry.variant for entry in (before or {}).values()}
    return [
        f"{name}: the base has this variant, and this code has not: restore it, or accept that "
        "with a whole run, `pytest benches --qmodels-update-baseline`"
        for name in sorted(gone)
    ]
