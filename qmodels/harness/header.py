"""The lines that say what a run measures, before it does."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from qmodels import gate, report, variants
from qmodels.base import serving
from qmodels.base.checkouts import Base
from qmodels.harness.settings import Settings
from qmodels.system import machine
from qmodels.system.files import shown


def header(settings: Settings) -> list[str]:
    """Lines on the network, the machine, and the baseline of this run."""
    lines = [
        f"qmodels: {settings.network.name}, {machine.machine_class()}, "
        f"{settings.threads} thread{'s'[: settings.threads > 1]}",
        str(settings.network),
        *_compared_with(settings),
    ]
    return report.wrap(lines).splitlines()


def _compared_with(settings: Settings) -> list[str]:
    baseline = settings.baseline
    if settings.update_baseline:
        path = shown(settings.baseline_path)
        return [f"baseline: this run will be stored as {path}, and compared with nothing"]
    if settings.base:
        return [
            f"baseline: measured on this machine with the code in {settings.base.code.root}",
            *_other_versions(settings.base),
        ]
    if baseline is None:
        name = settings.network.name
        return [f"baseline: none: no stored run of {name} fits {machine.machine_class()}"]
    here = machine.machine_class()
    files = dict.fromkeys(str(entry.file) for entry in baseline.entries.values())
    nearest = "" if here not in baseline.partial_for else ", the nearest machine class"
    lines = [f"baseline: {file}{nearest * (here not in Path(file).parts)}" for file in files]
    known = variants.all_variants()
    pairs: list[tuple[gate.Entry, gate.Entry]] = []
    for variant in (known[name] for name in settings.variants):
        stored = [entry for entry in baseline.entries.values() if entry.variant == variant.name]
        with suppress(Exception):  # whatever another package's backend raises, its bench reports
            if stored and variant.obstacle() is None:
                pairs += [(_as_measured_here(variant, entry, settings), entry) for entry in stored]
    return lines + gate.coverage(pairs, settings.tolerances).lines()


def _other_versions(base: Base) -> list[str]:
    here, there = serving.versions(), base.hello.conditions.versions
    changed = [name for name in here.keys() & there.keys() if here[name] != there[name]]
    if not changed:
        return []
    changes = [f"{name} from {there[name]} to {here[name]}" for name in sorted(changed)]
    return [f"upgrade: {', '.join(changes)}"]


def _as_measured_here(
    variant: variants.Variant, stored: gate.Entry, settings: Settings
) -> gate.Entry:
    """The entry that this run will compare with a stored one, but for what it measures."""
    return replace(
        stored,
        machine_class=variant.backend.machine_class(),
        engine=variant.engine,
        runtime=variant.runtime(),
        threads=stored.threads if stored.threads in ("all", 0) else settings.threads,
        provenance=replace(
            stored.provenance,
            versions=machine.versions(),
            host=machine.host(),
            processor=machine.processor(),
        ),
        kernel_library=variant.backend.kernel_library_here(),
        int8_saturates=variant.probe().saturates,
    )
