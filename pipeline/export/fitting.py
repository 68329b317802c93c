"""One pass of a trained network over validation images, and all that is fitted on it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.export.calibrate import (
    REFERENCE,
    Labels,
    accuracy_by_confidence,
    array_bytes,
    drift_reference,
    fit_temperature,
    fit_thresholds,
    log_loss,
)
from pipeline.metrics import Probabilities
from pipeline.serving.abstention import EMBEDDINGS, THRESHOLDS, Floats, of_variant
from pipeline.serving.appearance import brightness, sharpness
from pipeline.serving.variants import FP32
from pipeline.training.models import Network


@dataclass(frozen=True)
class Fitted:
    temperature: float
    files: dict[str, bytes]
    """What is sealed beside the network, by name."""
    figures: dict[str, float]
    """What came of it, for the report; log losses are in nats, on the images of the fit."""
    probabilities: Probabilities = field(compare=False)  # of two arrays neither is true
    """What the network answers with that temperature, (n, num_classes)."""
    measured: Mapping[str, Floats] = field(compare=False)
    """What is known of the images whatever is answered: name → (n,)."""


def fit(
    network: Network,
    batches: Iterable[npt.NDArray[np.uint8]],
    labels: Labels,
    measured: Mapping[str, Floats],
    *,
    coverage: float,
    in_distribution: float,
) -> Fitted:
    """Fit on the images of *batches*, each (n, size, size, 3), in an order that says nothing of
    them; *measured* holds what is known of them besides their pixels, for the drift reference."""
    logits, embeddings, seen = _pass(network, batches)
    temperature = fit_temperature(logits, labels)
    # As the exported graph computes them: what is sealed is compared with its answers
    probabilities = torch.softmax(torch.from_numpy(logits) / temperature, dim=1).numpy()
    known = {**seen, **measured}
    files = answer_files(
        *(FP32, probabilities, embeddings, labels, known),
        coverage=coverage,
        in_distribution=in_distribution,
    )
    rows = probabilities.astype(np.float64)
    return Fitted(
        temperature=temperature,
        files=files,
        figures={
            "images": len(labels),
            "temperature": temperature,
            "log_loss_before": log_loss(logits, labels),
            "log_loss_after": log_loss(logits / temperature, labels),
        },
        probabilities=rows / rows.sum(axis=1, keepdims=True),  # float32 sums are not quite 1
        measured=known,
    )


def answer_files(
    variant: str,
    probabilities: Floats,
    embeddings: Floats,
    labels: Labels,
    measured: Mapping[str, Floats],
    *,
    coverage: float,
    in_distribution: float,
) -> dict[str, bytes]:
    """Return, by name, what is sealed for the answers of *variant* to be held against: fitted on
    its own answers, (n, num_classes), and embeddings, (n, width), on validation images, of which
    *measured* says what else is known."""
    thresholds, sample = fit_thresholds(
        probabilities, embeddings, labels, coverage=coverage, in_distribution=in_distribution
    )
    predicted, confidence = probabilities.argmax(1), probabilities.max(1)
    reference = {
        **drift_reference(
            predicted, probabilities.shape[1], {"confidence": confidence, **measured}
        ),
        "accuracy_by_confidence": accuracy_by_confidence(confidence, predicted == labels),
    }
    return {
        of_variant(THRESHOLDS, variant): _json_bytes(thresholds.as_json()),
        of_variant(EMBEDDINGS, variant): array_bytes(sample),
        of_variant(REFERENCE, variant): _json_bytes(reference),
    }


def _pass(
    network: Network, batches: Iterable[npt.NDArray[np.uint8]]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], dict[str, Floats]]:
    """Return logits (n, num_classes), embeddings (n, width), and how the images look."""
    network.eval()
    found: list[tuple[npt.NDArray[Any], ...]] = []
    with torch.inference_mode():
        for pixels in batches:
            embeddings = network.embed(torch.from_numpy(pixels))
            logits = network.head(embeddings)
            look = brightness(pixels), sharpness(pixels)
            found.append((logits.numpy(), embeddings.numpy(), *look))
    every_logits, every_embedding, bright, sharp = map(np.concatenate, zip(*found, strict=True))
    return every_logits, every_embedding, {"brightness": bright, "sharpness": sharp}


def _json_bytes(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()
