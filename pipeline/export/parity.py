"""Whether the sealed model answers as the network in torch, from the files of images on."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from pipeline.errors import ArtefactError, DatasetError
from pipeline.export.artefact import SealedClassifier
from pipeline.export.graphs import batches
from pipeline.serving.images import Limits, to_square
from pipeline.training.models import Network


def largest_difference(
    classifier: SealedClassifier, network: Network, images: Sequence[bytes], card: Mapping[str, Any]
) -> float:
    """Return the largest difference in any probability, 0 to 1; *card* is the sealed model's.

    Raises DatasetError where the model would refuse one of *images*.
    """
    served = classifier.classify(images)
    for answer in served:
        if answer.reason is not None:
            raise DatasetError(
                f"the model would refuse an image of the dataset: {answer.reason}",
                str(answer.detail),
                mend="raise data.max_megabytes or data.max_megapixels, or darkroom ingest",
            )
    limits = Limits(**card["limits"])
    pixels = np.stack([to_square(data, card["image_size"], limits) for data in images])
    network.eval()
    with torch.inference_mode():
        logits = torch.cat([network(torch.from_numpy(part)) for part in batches(pixels)])
        expected = torch.softmax(logits / card["temperature"], dim=1).numpy()
    return float(np.abs(expected - [answer.probabilities for answer in served]).max())


def refuse_disparity(difference: float, images: int, tolerance: float) -> None:
    """Raise ArtefactError where *difference* is above *tolerance*."""
    if not difference <= tolerance:  # NaN is no agreement
        raise ArtefactError(
            "the exported model does not agree with the trained one",
            f"probabilities differ by {difference:.2e} on {images} images",
            f"export.parity_tolerance is {tolerance:.2e}",
            mend="report this with the model's name; or raise export.parity_tolerance",
        )
