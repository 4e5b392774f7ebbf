"""The switch for TensorFloat-32: as asked inside, as it was afterwards."""

import pytest
import torch

from pruning_lab.precision import tensor_float_32


def flags():
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


@pytest.fixture(params=[(True, True), (True, False), (False, True), (False, False)], ids=str)
def before(request):
    """Each setting of the two switches; what was there is put back."""
    was = flags()
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = request.param
    yield request.param
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = was


@pytest.mark.parametrize("allowed", [True, False])
def test_both_switches_are_as_asked_inside_and_as_they_were_afterwards(before, allowed):
    with tensor_float_32(allowed):
        assert flags() == (allowed, allowed)
        with tensor_float_32(not allowed):
            assert flags() == (not allowed, not allowed)
        assert flags() == (allowed, allowed)
    assert flags() == before


@pytest.mark.parametrize("allowed", [True, False])
def test_an_exception_inside_comes_through_and_leaves_the_switches_as_they_were(before, allowed):
    with pytest.raises(KeyError, match="why"), tensor_float_32(allowed):
        raise KeyError("why")
    assert flags() == before
