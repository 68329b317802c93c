"""One pass over validation images, and what is sealed of it."""

import io
import json

import numpy as np
import pytest
import torch
from trainings import PLAIN, fresh_network, greys, train_params

from pipeline.export.fitting import Fitted, fit
from pipeline.training.models import Network

PIXELS, LABELS = greys(60)
SIZES = {"width": np.full(60, 8.0)}


@pytest.fixture(scope="module")
def network() -> Network:
    return fresh_network(train_params(**PLAIN)).eval()


def fitted(network: Network, batch: int = 25) -> Fitted:
    batches = (PIXELS[start : start + batch] for start in range(0, 60, batch))
    return fit(network, batches, LABELS, SIZES, coverage=0.8, in_distribution=0.9)


def test_the_same_images_give_the_same_bytes(network):
    assert fitted(network) == fitted(network)


def test_the_thresholds_belong_to_the_probabilities_at_that_temperature(network):
    found = fitted(network)
    with torch.inference_mode():
        logits = network(torch.from_numpy(PIXELS)).double().numpy()
    scaled = np.exp(logits / found.temperature)
    right = (scaled / scaled.sum(1, keepdims=True))[np.arange(60), LABELS]
    thresholds = json.loads(found.files["thresholds.json"])
    covered = (1 - right <= thresholds["overall"] + 1e-6).sum()
    assert covered >= np.ceil(61 * 0.8)
    assert found.figures["log_loss_after"] <= found.figures["log_loss_before"]


def test_the_reference_names_all_that_is_compared(network):
    reference = json.loads(fitted(network).files["reference.json"])
    assert reference["images"] == sum(reference["predicted"]) == 60
    assert set(reference["percentiles"]) == {"brightness", "confidence", "sharpness", "width"}


def test_the_embeddings_are_of_length_one_and_read_without_pickle(network):
    read = np.load(io.BytesIO(fitted(network).files["embeddings.npy"]), allow_pickle=False)
    assert read.shape == (60, 4)
    assert np.linalg.norm(read.astype(float), axis=1) == pytest.approx(1, abs=0.01)
