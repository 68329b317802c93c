"""What a model knows of itself: `DARKROOM_TEST_DATA=... python benchmarks/calibration.py [EPOCHS]`.

One network trained on 70% of the cats and dogs, 64 px, by the recipe of benchmarks/accuracy.py. The
other 300 photos are halved at random, twenty times: thresholds and temperature are fitted on one
half, coverage and log loss measured on the other. Then CIFAR-10's trucks and ships are fed to it:
how well the out-of-distribution score tells them from the photos, and, beside it, CIFAR-10's cats
and dogs, which are as small and belong to the classes. Prints one JSON object a line for each bar.
"""

import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from accuracy import EPOCHS, RECIPE, SIZE
from photos import best_of, machine, params_with, photos_of, tell, training_of, unpacked
from scipy.special import logsumexp, softmax
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from pipeline.evaluation.bootstrap import intervals
from pipeline.export.calibrate import fit_temperature, fit_thresholds, log_loss
from pipeline.metrics import calibration_error
from pipeline.serving.abstention import nonconformity, ood_scores
from pipeline.serving.images import Limits, to_square
from pipeline.training.feed import augmentation_of
from pipeline.training.models import Architecture, Network, build

POOL, HALVINGS, COVERAGE, NEAR = 300, 20, 0.9, 0.99
STRANGERS = 200
"""Of each class."""
Answers = tuple[np.ndarray, np.ndarray]
"""Logits (n, 2), embeddings (n, width)."""


def main(epochs: int) -> None:
    print(f"{machine()}, {epochs} epochs")
    with tempfile.TemporaryDirectory() as scratch:
        photos = photos_of(unpacked("cats_dogs.tar", Path(scratch)))
        params = params_with(**{**RECIPE, "epochs": epochs})
        side = augmentation_of(params, flips=True).source_side(SIZE)
        squares, larger = photos.squares(SIZE), photos.squares(side)
        cifar = unpacked("cifar10.tar.xz", Path(scratch)) / "test"
        strangers = {
            name: np.concatenate([_squares(cifar / each) for each in classes])
            for name, classes in (
                ("trucks and ships", ("truck", "ship")),
                ("cats and dogs", ("cat", "dog")),
            )
        }
    labels = photos.labels
    order = np.random.default_rng(0).permutation(len(labels))
    pool, kept = order[:POOL], order[POOL:]
    torch.manual_seed(0)
    fresh = build(Architecture(params.model, SIZE), 2, params.dropout)
    training = training_of(fresh, larger[kept], labels[kept], SIZE, params)
    network = best_of(training, squares[pool], labels[pool])
    answers = _answers(network, squares[pool])
    _halve(answers, labels[pool])
    for name, pixels in strangers.items():
        _estrange(name, answers, _answers(network, pixels))


def _squares(folder: Path) -> np.ndarray:
    files = sorted(folder.iterdir())[:STRANGERS]
    return np.stack([to_square(path.read_bytes(), SIZE, Limits()) for path in files])


def _answers(network: Network, pixels: np.ndarray) -> Answers:
    with torch.inference_mode():
        parts = [network.embed(part) for part in torch.from_numpy(pixels).split(64)]
        embeddings = torch.cat(parts)
        return network.head(embeddings).numpy(), embeddings.numpy()


def _halve(answers: Answers, labels: np.ndarray) -> None:
    logits, embeddings = answers
    covered, before, after = [], [], []
    for number in range(HALVINGS):
        order = np.random.default_rng(number).permutation(len(labels))
        ours, others = order[: POOL // 2], order[POOL // 2 :]
        temperature = fit_temperature(logits[ours], labels[ours])
        probabilities = softmax(logits / temperature, axis=1)
        thresholds, _ = fit_thresholds(
            *(probabilities[ours], embeddings[ours], labels[ours]),
            coverage=COVERAGE,
            in_distribution=NEAR,
        )
        scores = nonconformity(probabilities[others])[np.arange(len(others)), labels[others]]
        covered.append(float((scores <= thresholds.overall).mean()))
        before.append(log_loss(logits[others], labels[others]))
        after.append(log_loss(logits[others] / temperature, labels[others]))
        if not number:
            _tell_calibration("before", softmax(logits[others], axis=1), labels[others])
            _tell_calibration(f"at {temperature:.3f}", probabilities[others], labels[others])
    mean, error = statistics.mean(covered), statistics.stdev(covered) / HALVINGS**0.5
    print(f"  coverage {mean:.4f}, standard error {error:.4f}, asked {COVERAGE}")
    tell(
        "coverage off what was asked, in standard errors, negative",
        -abs(mean - COVERAGE) / error,
        -2,
    )
    gain = statistics.mean(before) - statistics.mean(after)
    print(
        f"  log loss {statistics.mean(before):.4f}, after temperature {statistics.mean(after):.4f}"
    )
    tell("log loss gained by temperature, nats", gain, 0)


def _tell_calibration(name: str, probabilities: np.ndarray, labels: np.ndarray) -> None:
    low, high = intervals(probabilities, labels, 0).figures["calibration_error"]
    found = calibration_error(probabilities, labels)
    print(f"  calibration error {name}: {found:.4f} [{low:.4f}, {high:.4f}], {len(labels)} photos")


def _estrange(name: str, photos: Answers, others: Answers) -> None:
    half = POOL // 2
    known = photos[1][:half]
    _, sample = fit_thresholds(
        *(softmax(photos[0][:half], axis=1), known, np.zeros(half, np.int64)),
        coverage=COVERAGE,
        in_distribution=NEAR,
    )
    scores = np.concatenate([ood_scores(each, sample, 5) for each in (photos[1][half:], others[1])])
    strange = np.arange(len(scores)) >= POOL - half
    tell(
        f"AUROC of the out-of-distribution score, CIFAR-10's {name}",
        roc_auc_score(strange, scores),
        0.8,
    )
    logits, embeddings = (
        np.concatenate([a[half:], b]) for a, b in zip(photos, others, strict=True)
    )
    told = {
        each: round(float(roc_auc_score(strange, values)), 3)
        for each, values in _other_scores(logits, embeddings, known).items()
    }
    print(f"  other scores: {told}")


def _other_scores(
    logits: np.ndarray, embeddings: np.ndarray, known: np.ndarray
) -> dict[str, np.ndarray]:
    """Return what else the literature takes for strangeness, the larger the stranger."""
    nearest = NearestNeighbors(n_neighbors=5).fit(known)
    return {
        # Hendrycks and Gimpel 2017, Liu et al. 2020, Lee et al. 2018 (one Gaussian, shrunk)
        "softmax": 1 - softmax(logits, axis=1).max(1),
        "energy": -logsumexp(logits, axis=1),
        "Mahalanobis": LedoitWolf().fit(known).mahalanobis(embeddings),
        "nearest, lengths kept": nearest.kneighbors(embeddings)[0][:, -1],
        "length of the embedding": -np.linalg.norm(embeddings, axis=1),
    }


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else EPOCHS)
