"""Runs that commands read, and the baselines of this checkout; without torch."""

import argparse
import tomllib
from collections.abc import Iterable
from configparser import ConfigParser
from configparser import Error as ConfigError
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from qmodels import gate
from qmodels.gate import Baseline, Run, Tolerances
from qmodels.system import defaults, machine
from qmodels.system.errors import NothingMeasured, UserError
from qmodels.system.files import shown


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the argument that ``read_run_or_stored`` reads."""
    parser.add_argument(
        "run",
        nargs="?",
        default=defaults.network_name(),
        metavar="RUN.json|NETWORK",
        help="written by --benchmark-json, or a network with a stored run (default: %(default)s)",
    )


def describe(run: Run) -> tuple[str, str, str]:
    """The network of a run with entries, its machine class and its torch."""
    entry = next(iter(run.entries.values()))
    torch = entry.provenance.versions.get("torch", "unknown")
    return entry.key.network, entry.machine_class, f"torch {torch}"


def read_run(path: Path) -> Run:
    """The run in a file. ``FILE:NETWORK`` is that of one of several networks."""
    file, _, network = str(path).rpartition(":")
    named = bool(file) and not path.exists()
    run = gate.read_run(Path(file) if named else path)
    known = ", ".join(run.networks)
    if named and network not in run.networks:
        raise UserError(f"run {file} has no network {network}: choose from {known}")
    if not named and len(run.networks) > 1:
        raise UserError(f"run {path} is of {known}: name one, as {path}:{run.networks[0]}")
    run = run.of_network(network) if named else run
    if not run.entries and not run.failures:
        raise NothingMeasured(f"run {path} has no benchmark: run benches with --benchmark-json")
    return run


def read_run_or_stored(name: str) -> tuple[Run, str | None]:
    """The run in a file, or the stored one of a network for this machine class or the nearest.

    Returns:
        The run, and its file where it is a stored one.
    """
    path = Path(name)
    if ".json" in path.suffix or (path.exists() and not path.is_dir()):  # a pipe is no file
        stored = path.resolve().parent.parent == baselines().resolve()
        return read_run(path), shown(path) if stored else None
    baseline = stored_baseline(name)
    run = Run.from_entries(baseline.entries.values())
    return replace(run, skipped=baseline.skipped), baseline.shown


def stored_baseline(network: str) -> Baseline:
    """The stored run of a network for this machine class or the nearest."""
    baseline = gate.find_baseline(baselines(), [machine.machine_class()], network)
    if baseline is None:
        networks = sorted(
            {file.name.partition(".")[0] for file in baselines().glob("*/*.times.json")}
        )
        raise UserError(
            f"no run of {network} is stored for {machine.machine_class()} or a class like it: "
            f"name a file of --benchmark-json, or one of {', '.join(networks)}"
        )
    return baseline


def read_baseline(path: Path) -> Baseline:
    """The baseline at a path."""
    baseline = gate.read_baseline(path)
    if baseline is None:
        raise UserError(
            f"baseline {path} does not exist: name a stored run, or store one with "
            "--qmodels-update-baseline"
        )
    return baseline


def baseline_for(run: Run, named: Path | None) -> Baseline | None:
    """The named baseline, or else the stored one that the harness compares a run with."""
    if named:
        return read_baseline(named)
    if not run.entries:
        return None
    entries = list(run.entries.values())
    network = entries[0].key.network  # every entry has the same
    classes = dict.fromkeys(entry.machine_class for entry in entries)
    return gate.find_baseline(baselines(), classes, network)


def baselines(*, to_write: bool = False) -> Path:
    """The folder of stored runs: that of the repository one is in, else that of this code.

    A worktree has no environment of its own, and uses the command of another one. A repository that
    has stored nothing yet has a folder too.

    Args:
        to_write: whether a run is to be stored. Then it is that of this code only if one is in it.
    """
    here = Path.cwd()
    this_code: tuple[Path, ...] = () if to_write else (Path(__file__).parents[2],)
    for folder in (here, *here.parents, *this_code):
        stored = folder / _configured(folder)
        if stored.is_dir() or (folder / ".git").exists():
            return stored
    return here / _configured(here)


def _configured(folder: Path) -> str:
    option, default = "qmodels_baselines", "baselines"
    parser = ConfigParser(interpolation=None, strict=False)
    with suppress(ConfigError, OSError, UnicodeDecodeError):
        parser.read([folder / "setup.cfg", folder / "tox.ini", folder / "pytest.ini"], "utf-8")
    for section in ("pytest", "tool:pytest"):
        if parser.has_option(section, option):
            return parser.get(section, option)
    with suppress(OSError, ValueError, KeyError, TypeError):
        tables = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
        return str(tables["tool"]["pytest"]["ini_options"][option])
    return default


def tolerances(variants: Iterable[str] | None = None) -> Tolerances:
    """The tolerances of the repository."""
    return gate.read_tolerances(baselines(), variants)
