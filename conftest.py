"""The harness, for `pytest benches` and `pytest tests`: it lives in ``qmodels.harness``."""

pytest_plugins = (
    "qmodels.harness.options",
    "qmodels.harness.fixtures",
    "qmodels.harness.records",
    "qmodels.harness.ending",
)
