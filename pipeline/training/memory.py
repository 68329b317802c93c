"""Where memory is short: what goes through at once is halved, until one image is too much."""

from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.errors import TrainingError

_SAID = (
    *("can't allocate memory", "not enough memory", "CUDA error: out of memory"),
    *("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED"),
)


def is_out_of_memory(error: Exception) -> bool:
    """Whether a GPU's memory, or this machine's, did not suffice."""
    return isinstance(error, torch.OutOfMemoryError) or any(said in str(error) for said in _SAID)


def halving(make: Callable[[int, int], Tensor], start: int, stop: int) -> Tensor:
    """Return make(start, stop); where memory is short, what its halves make, joined, and so on.

    Raises TrainingError where memory does not suffice for one image.
    """
    try:
        return make(start, stop)
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        if stop - start <= 1:
            raise too_large() from None
    middle = (start + stop) // 2
    return torch.cat([halving(make, start, middle), halving(make, middle, stop)])


def too_large() -> TrainingError:
    return TrainingError(
        "memory does not suffice for a single image",
        mend="set train.image_size to less, or train.model to a smaller one, in params.yaml",
    )
