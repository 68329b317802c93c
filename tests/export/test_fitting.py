"""One pass over validation images, and what is sealed of it."""

import io
import json

import numpy as np
import pytest
import torch
from trainings import PLAIN, fresh_network, greys, train_params

from pipeline.export.fitting import Fitted, answer_files, fit
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
    assert set(reference["sample"]) == {"brightness", "confidence", "sharpness", "width"}
    by_confidence = reference["accuracy_by_confidence"]
    assert sum(by_confidence["images"]) == 60


def test_each_variant_has_the_three_files_of_its_own_answers(network):
    found = fitted(network)
    answers = found.probabilities[::-1]
    files = answer_files(
        *("int8", answers, answers, LABELS, found.measured), coverage=0.8, in_distribution=0.9
    )
    assert set(files) == {f"int8.{name}" for name in found.files}
    sample = json.loads(files["int8.reference.json"])["sample"]
    assert sample["confidence"] == answers.max(1).tolist()
    assert sample["brightness"] == json.loads(found.files["reference.json"])["sample"]["brightness"]


def test_the_embeddings_are_of_length_one_and_read_without_pickle(network):
    read = np.load(io.BytesIO(fitted(network).files["embeddings.npy"]), allow_pickle=False)
    assert read.shape == (60, 4)
    assert np.linalg.norm(read.astype(float), axis=1) == pytest.approx(1, abs=0.01)
