"""models/trained → models/serving: the sealed artefact; what was checked → reports/export."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import torch
from safetensors.torch import load_file

from pipeline.cards import read_card, write_card
from pipeline.data.cache import read_image
from pipeline.data.catalogue import read_splits
from pipeline.errors import ArtefactError
from pipeline.export.artefact import open_artefact, seal
from pipeline.export.onnx import to_onnx
from pipeline.graph import stage_key
from pipeline.params import DataParams, Params
from pipeline.serving.classifier import INTERFACE
from pipeline.serving.images import Limits, to_square
from pipeline.training.models import Architecture, Network, build
from pipeline.workspace import Workspace


def run(workspace: Workspace, params: Params, say: Callable[[str], None]) -> None:
    """Raises ArtefactError where the exported model does not agree with the trained one."""
    trained = read_card(workspace.trained / "card.json")
    architecture = Architecture(trained["architecture"], trained["image_size"])
    network = build(architecture, len(trained["classes"]))
    weights = workspace.trained / "model.safetensors"
    network.load_state_dict(load_file(weights))
    limits = image_limits(params.data)
    temperature = 1.0
    card = {
        "interface": INTERFACE,
        "classes": trained["classes"],
        "architecture": architecture.name,
        "image_size": architecture.image_size,
        "limits": asdict(limits),
        "temperature": temperature,
        "variants": ["fp32"],
    }
    digest = seal(workspace.serving, to_onnx(network, architecture.image_size, temperature), card)

    images = _some_images(workspace, params.export.parity_images)
    difference = _largest_difference(workspace, network, images, architecture.image_size, limits)
    if difference > params.export.parity_tolerance:
        raise ArtefactError(
            "the exported model does not agree with the trained one",
            f"probabilities differ by {difference:.2e} on {len(images)} images",
            f"export.parity_tolerance is {params.export.parity_tolerance:.2e}",
            mend="report this with the model's name; or raise export.parity_tolerance",
        )
    write_card(
        workspace.export_report / "card.json",
        {
            "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
            "export_key": stage_key(workspace, "export"),
            "serving_digest": digest,
            "parity": {"images": len(images), "largest_difference": difference},
            "params": params.export.model_dump(),
        },
    )
    say(f"sealed {digest[:12]}..., within {difference:.1e} of torch on {len(images)} images")


def image_limits(params: DataParams) -> Limits:
    """What a served model refuses is what `ingest` refuses."""
    return Limits(
        bytes=round(params.max_megabytes * 2**20), pixels=round(params.max_megapixels * 10**6)
    )


def _some_images(workspace: Workspace, count: int) -> list[bytes]:
    splits = read_splits(workspace.splits)
    rows = (*splits.of("validation"), *splits.of("train"))[:count]
    return [read_image(workspace.images, row) for row in rows]


def _largest_difference(
    workspace: Workspace, network: Network, images: list[bytes], size: int, limits: Limits
) -> float:
    """Compare the sealed artefact, run by its own code, with *network* in torch."""
    served = open_artefact(workspace.serving).classify(images)
    pixels = np.stack([to_square(data, size, limits) for data in images])
    network.eval()
    with torch.inference_mode():
        expected = torch.softmax(network(torch.from_numpy(pixels)), dim=1).numpy()
    return float(np.abs(expected - [p.probabilities for p in served]).max())
