"""Installed packages: their versions, what is allowed, and the command that installs them."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement

DISTRIBUTION = "pytest-qmodels"
CHECKOUT = Path(__file__).parents[2]
_CONSTRAINTS = "baselines/constraints.txt"


def install(extra: str, *options: str) -> str:
    """The command that installs an extra of qmodels.

    In a checkout it takes the versions that the baselines were made with.
    """
    if (CHECKOUT / _CONSTRAINTS).exists():
        target = ["-e", f"'.[{extra}]'", "-c", _CONSTRAINTS]
    else:
        target = [f"'{DISTRIBUTION}[{extra}]'"]
    return " ".join(["pip", "install", *options, *target])


def installation(module: str) -> list[str]:
    """The version of a module's package and its file's time, which a new installation changes."""
    spec = find_spec(module)
    origin = spec.origin if spec else None
    when = str(Path(origin).stat().st_mtime_ns) if origin and Path(origin).exists() else "unknown"
    return [_version_of(module) or "unknown", when]


def file_of(module: str) -> str | None:
    """The file of a module, which is not imported, but for its packages; None where there is none.

    Links are followed.
    """
    try:
        spec = find_spec(module)
    except ImportError:  # of a package of it
        return None
    return str(Path(spec.origin).resolve()) if spec and spec.origin else None


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions by package, "not installed" where there is none."""
    return {package: _version_of(package) or "not installed" for package in packages}


def wrong_version(modules: Iterable[str], extra: str, distribution: str | None) -> str | None:
    """The first module whose version an extra does not allow, as a message fragment.

    None where all versions are allowed, or the distribution is not installed.
    """
    try:
        lines = requires(distribution) if distribution else None
    except PackageNotFoundError:  # it runs from its folder
        return None
    for requirement in map(Requirement, lines or []):
        name, marker = requirement.name, requirement.marker
        if marker is None or not marker.evaluate({"extra": extra}) or name not in modules:
            continue
        version = _version_of(name)
        if version and not requirement.specifier.contains(version, prereleases=True):
            return f"{name} {version} is installed, and {name}{requirement.specifier} is needed"
    return None
