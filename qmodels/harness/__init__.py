"""The pytest plugin: options, fixtures, the record of each benchmark, and the verdict."""

from qmodels.harness.fixtures import (
    qmodels_artifact,
    qmodels_externally_timed,
    qmodels_latencies,
    qmodels_record,
    qmodels_recorder,
    qmodels_session,
    qmodels_variant,
)
from qmodels.harness.plugin import (
    pytest_addoption,
    pytest_collect_file,
    pytest_collection_finish,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_generate_tests,
    pytest_pycollect_makeitem,
)

# pytest loads this module in every session, so what it imports has to be light.
__all__ = [
    "pytest_addoption",
    "pytest_collect_file",
    "pytest_collection_finish",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_generate_tests",
    "pytest_pycollect_makeitem",
    "qmodels_artifact",
    "qmodels_externally_timed",
    "qmodels_latencies",
    "qmodels_record",
    "qmodels_recorder",
    "qmodels_session",
    "qmodels_variant",
]
