"""models/trained → models/serving: the sealed artefact; what was checked → reports/export."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file

from pipeline.cards import read_card, write_card
from pipeline.data.cache import decoded, labels_of, read_image, read_square
from pipeline.data.limits import image_limits
from pipeline.data.splits import Splits, read_splits
from pipeline.errors import Busy, DatasetError
from pipeline.export.artefact import open_artefact, seal
from pipeline.export.fine_tune import fine_tune, recipe
from pipeline.export.fitting import Fitted, answer_files, fit
from pipeline.export.graphs import BATCH, Graphs, batches, make_graphs
from pipeline.export.parity import largest_difference, refuse_disparity
from pipeline.export.prune import flops, prune
from pipeline.export.variants import Bounds, Variant
from pipeline.graph import stage_key, training_key
from pipeline.metrics import accuracy, log_loss
from pipeline.params import ExportParams, Params
from pipeline.serving.classifier import INTERFACE
from pipeline.serving.variants import FP32, INT8
from pipeline.training import checkpoint
from pipeline.training.feed import Feed, on_device
from pipeline.training.loop import predictions
from pipeline.training.models import Architecture, Network, build
from pipeline.training.preparation import augmentation_for, be_deterministic, device_of
from pipeline.workspace import Home, Workspace, fresh

_SIZES = ("width", "height")
_SAMPLE = 128
"""Training images over which channels are ranked and the ranges of INT8 are taken."""
Images = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]
"""Pixels (n, size, size, 3), and labels (n,)."""


def run(workspace: Workspace, home: Home, params: Params, say: Callable[[str], None]) -> None:
    """Raises ArtefactError where the exported model does not agree with the network, DatasetError
    where there is no image to validate on or one is damaged; then there is no artefact."""
    _forget_checkpoints(workspace, home, params)
    trained = read_card(workspace.trained / "card.json")
    weights = workspace.trained / "model.safetensors"
    splits, export = read_splits(workspace.splits), params.export
    validation = _validation(workspace, home, splits, trained)
    sample = _sample(workspace, splits, trained)
    network = load_trained(trained, weights)
    pruning: dict[str, float] = {}
    if export.prune:
        feed = _feed(workspace, home, splits, trained, params)
        network, pruning = _cut(network, sample, feed, validation, params, say)
    fitted = _fit(splits, network, validation, params)
    graphs = make_graphs(
        network,
        trained["image_size"],
        fitted.temperature,
        calibration=sample[0],
        validation=validation,
        trained=fitted.probabilities,
        bounds=Bounds(export.max_accuracy_loss, export.max_log_loss),
    )
    for variant in graphs.variants:
        say(_told(variant))
    card = {
        "interface": INTERFACE,
        "classes": trained["classes"],
        "architecture": trained["architecture"],
        "image_size": trained["image_size"],
        "limits": asdict(image_limits(params.data)),
        "temperature": fitted.temperature,
    }
    images = _some_images(workspace, splits, export.parity_images)
    with tempfile.TemporaryDirectory() as scratch:
        sealed = Path(scratch) / "serving"
        kept, test = graphs.int8, graphs.self_test
        files = fitted.files | _int8_files(graphs, validation, fitted, export)
        digest = seal(sealed, graphs.fp32, card, files, int8=kept, self_test=test)
        served = open_artefact(sealed, digest, variant=FP32)
        difference = largest_difference(served, network, images, card)
        refuse_disparity(difference, len(images), export.parity_tolerance)
        shutil.copytree(sealed, fresh(workspace.serving), dirs_exist_ok=True)
    table = {variant.name: variant.row() for variant in graphs.variants}
    report = fresh(workspace.export_report)
    write_card(report / "variants.json", table)
    write_card(
        report / "card.json",
        {
            "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
            "export_key": stage_key(workspace, "export"),
            "serving_digest": digest,
            "parity": {"images": len(images), "largest_difference": difference},
            "fitted": fitted.figures,
            "pruning": pruning,
            "variants": table,
            "params": export.model_dump(),
        },
    )
    say(f"sealed {digest[:12]}..., within {difference:.1e} of torch on {len(images)} images")


def load_trained(trained: Mapping[str, Any], weights: Path) -> Network:
    """Return the network that the training's card and weights describe."""
    architecture = Architecture(trained["architecture"], trained["image_size"], trained["hidden"])
    network = build(architecture, len(trained["classes"]))
    state, saved = network.state_dict(), load_file(weights)
    for key in list(state):  # in place: the modules' versions go with it, which no file has
        state[key] = saved[key]
    network.load_state_dict(state)
    return network


def _validation(
    workspace: Workspace, home: Home, splits: Splits, trained: Mapping[str, Any]
) -> Images:
    """Return all validation images, in the order of their hashes."""
    rows = splits.of("validation")
    if not rows:
        raise DatasetError(
            "there is no validation image",
            "temperature, thresholds and the choice of variants are fitted on them",
            mend="raise split.validation in params.yaml, then dvc repro",
        )
    pixels = decoded(workspace.images, rows, trained["image_size"], home.private / "decoded")
    return pixels, labels_of(rows, trained["classes"])


def _sample(workspace: Workspace, splits: Splits, trained: Mapping[str, Any]) -> Images:
    """Return some training images, unaugmented: the first, as good as any, of their hashes."""
    rows, size = splits.of("train")[:_SAMPLE], trained["image_size"]
    with ThreadPoolExecutor() as threads:
        found = threads.map(lambda row: read_square(workspace.images, row, size), rows)
        pixels = np.array(list(found), np.uint8).reshape(-1, size, size, 3)
    return pixels, labels_of(rows, trained["classes"])


def _feed(
    workspace: Workspace, home: Home, splits: Splits, trained: Mapping[str, Any], params: Params
) -> Feed:
    """Return what the network was trained on, as it was trained on it."""
    rows, size = splits.of("train"), trained["image_size"]
    how, train = augmentation_for(splits, params.train), params.train
    side = how.source_side(size)
    pixels = decoded(workspace.images, rows, side, home.private / "decoded")
    labels, device = labels_of(rows, trained["classes"]), device_of(train.device)
    return on_device(
        Feed(pixels, labels, size, how, train.batch_size, train.seed, train.balance, device)
    )


def _cut(
    network: Network,
    sample: Images,
    feed: Feed,
    validation: Images,
    params: Params,
    say: Callable[[str], None],
) -> tuple[Network, dict[str, float]]:
    """Return a smaller network, and what it cost, on the validation images."""
    be_deterministic()
    pixels, labels = map(torch.from_numpy, sample)
    cut, share = prune(network, params.export.prune, pixels, labels)
    figures = {"share_cut": share}
    for name, each in (("before", network.eval()), ("after", cut)):
        figures[f"flops_{name}"] = flops(each, pixels)
    figures |= _figures("before", network, validation) | _figures("cut", cut, validation)
    say(f"cut {share:.1%} of the FLOPs")
    if params.export.prune_epochs:
        tuned = recipe(params.train, params.export.prune_epochs)
        for epoch in fine_tune(cut, feed, validation, tuned):
            say(f"epoch {epoch.epoch}: validation accuracy {epoch.validation_accuracy:.4f}")
    figures |= _figures("after", cut, validation)
    before, after = figures["accuracy_before"], figures["accuracy_after"]
    say(f"validation accuracy {before:.4f} before the cut, {after:.4f} after it")
    return cut, figures


def _figures(name: str, network: Network, validation: Images) -> dict[str, float]:
    pixels, labels = validation
    found = np.concatenate(list(predictions(network, pixels, torch.device("cpu"), BATCH)))
    return {
        f"accuracy_{name}": accuracy(found, labels),
        f"log_loss_{name}": log_loss(found, labels),
    }


def _fit(splits: Splits, network: Network, validation: Images, params: Params) -> Fitted:
    rows = splits.of("validation")
    sizes = {name: np.array([getattr(row, name) for row in rows], float) for name in _SIZES}
    return fit(
        network,
        batches(validation[0]),
        validation[1],
        sizes,
        coverage=params.export.coverage,
        in_distribution=params.export.in_distribution,
    )


def _int8_files(
    graphs: Graphs, validation: Images, fitted: Fitted, export: ExportParams
) -> dict[str, bytes]:
    found = graphs.int8_answers
    if found is None:
        return {}
    return answer_files(
        *(INT8, found.probabilities, found.embeddings, validation[1], fitted.measured),
        coverage=export.coverage,
        in_distribution=export.in_distribution,
    )


def _some_images(workspace: Workspace, splits: Splits, count: int) -> list[bytes]:
    rows = (*splits.of("validation"), *splits.of("train"))[:count]
    return [read_image(workspace.images, row) for row in rows]


def _forget_checkpoints(workspace: Workspace, home: Home, params: Params) -> None:
    """DVC has stored what training wrote, else this stage would not run."""
    folder = checkpoint.folder_of(home.private, training_key(workspace, home, params.train))
    with suppress(Busy), checkpoint.hold(folder):
        if checkpoint.written(folder):
            checkpoint.forget(folder)


def _told(variant: Variant) -> str:
    if variant.fault is not None:
        return f"{variant.name} is set aside: {variant.fault}"
    return (
        f"{variant.name}: {variant.bytes / 1e6:.2f} MB, accuracy {variant.accuracy:.4f}, "
        f"log loss {variant.log_loss:.4f}, {variant.agreement:.1%} of the answers are fp32's"
    )
