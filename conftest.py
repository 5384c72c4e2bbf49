"""The harness, where qmodels runs from its folder: an installed one has registered it by now."""

from pathlib import Path

import pytest

import qmodels

pytest_plugins = ("qmodels.harness",)

HERE = Path(__file__).parent
IMPORTED = Path(qmodels.__file__).parents[1]
if not IMPORTED.samefile(HERE):
    raise pytest.UsageError(
        f"qmodels is that of {IMPORTED}, and not of {HERE}: install this one, or set PYTHONPATH=."
    )
if not (HERE / "qmodels" / "benches").is_dir():
    raise pytest.UsageError(
        f"{HERE / 'qmodels' / 'benches'} is no link to benches/: check it out again after "
        "`git config core.symlinks true`"
    )
