import gc

import pytest
import torch

from qmodels.errors import UserError
from qmodels.measure import stopwatch


def test_quiet_sets_threads_and_stops_collection_and_puts_both_back() -> None:
    before = torch.get_num_threads()
    with stopwatch.quiet(1):
        assert torch.get_num_threads() == 1
        assert not gc.isenabled()
        assert torch.is_inference_mode_enabled()
    assert torch.get_num_threads() == before
    assert gc.isenabled()


def test_no_threads_are_refused() -> None:
    with pytest.raises(UserError, match="0 threads"), stopwatch.quiet(0):
        pass
