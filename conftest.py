"""The harness, where qmodels runs from its folder: an installed one has registered it by now."""

pytest_plugins = ("qmodels.harness",)
