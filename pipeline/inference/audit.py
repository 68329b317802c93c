"""Which images of a batch people look at, so that live accuracy is measured and not only expected.

Not the doubtful ones: those would say how the model does on doubtful images. A keyed hash draws,
as in the split: the same images on every machine and at every repeat, whatever their order.
"""

from collections.abc import Sequence
from hashlib import blake2b


def audit_sample(images: Sequence[str], batch: str, count: int) -> list[int]:
    """Return the places, ascending, of *count* of *images*, or of all where there are fewer.

    *images* are the hashes of the answered ones: a refused image has no answer to be right.
    *batch*, its identity, is the hash's key, so that an image which comes in two batches is drawn
    in each anew.
    """
    key = blake2b(batch.encode()).digest()

    def drawn(place: int) -> bytes:
        return blake2b(images[place].encode(), key=key, digest_size=16).digest()

    return sorted(sorted(range(len(images)), key=drawn)[:count])
