"""models/trained → models/serving: the sealed artefact; what was checked → reports/export."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file

from pipeline.cards import read_card, write_card
from pipeline.data.cache import UNLIMITED, labels_of, read_image
from pipeline.data.limits import image_limits
from pipeline.data.splits import SplitRow, read_splits
from pipeline.errors import ArtefactError, DatasetError, UnreadableImage
from pipeline.export.artefact import open_artefact, seal
from pipeline.export.fitting import Fitted, fit
from pipeline.export.onnx import to_onnx
from pipeline.graph import stage_key
from pipeline.params import Params
from pipeline.serving.classifier import INTERFACE
from pipeline.serving.images import Limits, to_square
from pipeline.training.models import Architecture, Network, build
from pipeline.workspace import Workspace, fresh

_BATCH = 64
_SIZES = ("width", "height")


def run(workspace: Workspace, params: Params, say: Callable[[str], None]) -> None:
    """Raises ArtefactError where the exported model does not agree with the trained one; then
    there is none."""
    trained = read_card(workspace.trained / "card.json")
    weights = workspace.trained / "model.safetensors"
    network = load_trained(trained, weights)
    fitted = _fit(workspace, params, network, trained)
    card = {
        "interface": INTERFACE,
        "classes": trained["classes"],
        "architecture": trained["architecture"],
        "image_size": trained["image_size"],
        "limits": asdict(image_limits(params.data)),
        "temperature": fitted.temperature,
    }
    graph = to_onnx(network, trained["image_size"], fitted.temperature)
    images = _some_images(workspace, params.export.parity_images)
    with tempfile.TemporaryDirectory() as scratch:
        sealed = Path(scratch) / "serving"
        digest = seal(sealed, graph, card, fitted.files)
        difference = _largest_difference(sealed, network, images, card)
        _refuse_disparity(difference, len(images), params.export.parity_tolerance)
        shutil.copytree(sealed, fresh(workspace.serving), dirs_exist_ok=True)
    write_card(
        fresh(workspace.export_report) / "card.json",
        {
            "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
            "export_key": stage_key(workspace, "export"),
            "serving_digest": digest,
            "parity": {"images": len(images), "largest_difference": difference},
            "fitted": fitted.figures,
            "params": params.export.model_dump(),
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


def _fit(
    workspace: Workspace, params: Params, network: Network, trained: Mapping[str, Any]
) -> Fitted:
    """Fit on all validation images, in the order of their hashes."""
    rows = read_splits(workspace.splits).of("validation")
    sizes = {name: np.array([getattr(row, name) for row in rows], float) for name in _SIZES}
    return fit(
        network,
        _squares(workspace.images, rows, trained["image_size"]),
        labels_of(rows, trained["classes"]),
        sizes,
        coverage=params.export.coverage,
        in_distribution=params.export.in_distribution,
    )


def _squares(images: Path, rows: Sequence[SplitRow], size: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the pixels of *rows*, batch by batch; raise DatasetError naming a damaged image."""

    def square(row: SplitRow) -> npt.NDArray[np.uint8]:
        try:
            return to_square(read_image(images, row), size, UNLIMITED)
        except UnreadableImage as error:
            raise DatasetError(
                "an image of the snapshot is damaged",
                str(images / row.file),
                str(error),
                mend="darkroom data verify, or darkroom ingest --rescan",
            ) from None

    with ThreadPoolExecutor() as threads:
        for start in range(0, len(rows), _BATCH):
            yield np.stack(list(threads.map(square, rows[start : start + _BATCH])))


def _some_images(workspace: Workspace, count: int) -> list[bytes]:
    splits = read_splits(workspace.splits)
    rows = (*splits.of("validation"), *splits.of("train"))[:count]
    return [read_image(workspace.images, row) for row in rows]


def _largest_difference(
    sealed: Path, network: Network, images: list[bytes], card: Mapping[str, Any]
) -> float:
    """Compare the sealed artefact, run by its own code, with *network* in torch."""
    served = open_artefact(sealed).classify(images)
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
        logits = network(torch.from_numpy(pixels)) / card["temperature"]
        expected = torch.softmax(logits, dim=1).numpy()
    return float(np.abs(expected - [answer.probabilities for answer in served]).max())


def _refuse_disparity(difference: float, images: int, tolerance: float) -> None:
    if not difference <= tolerance:  # NaN is no agreement
        raise ArtefactError(
            "the exported model does not agree with the trained one",
            f"probabilities differ by {difference:.2e} on {images} images",
            f"export.parity_tolerance is {tolerance:.2e}",
            mend="report this with the model's name; or raise export.parity_tolerance",
        )
