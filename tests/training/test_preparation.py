"""What a training refuses before it starts."""

import re

import pytest

from pipeline.errors import ParamsError
from pipeline.training.preparation import check_shares


def test_the_batch_size_that_a_refusal_names_is_taken_and_none_below_it():
    """Twice the processes are not enough: 23 images in batches of at most 8 are batches of 7."""
    with pytest.raises(ParamsError, match="8 is too few for 4 processes") as caught:
        check_shares(23, 8, 4)
    named = int(re.search(r"batch_size in params.yaml to (\d+)", caught.value.mend)[1])
    check_shares(23, named, 4)
    with pytest.raises(ParamsError):
        check_shares(23, named - 1, 4)


def test_where_no_batch_size_is_enough_fewer_processes_are_named():
    with pytest.raises(ParamsError, match="23 training images") as caught:
        check_shares(23, 100, 12)
    assert "train.processes in params.yaml to 11" in caught.value.mend
    check_shares(23, 100, 11)


def test_one_process_takes_any_batch_size():
    check_shares(1, 1, 1)
