"""The harness, for `pytest benches`: it lives in ``qmodels.harness``."""

pytest_plugins = (
    "qmodels.harness.options",
    "qmodels.harness.fixtures",
    "qmodels.harness.results",
    "qmodels.harness.summary",
    "qmodels.harness.terminal",
)
