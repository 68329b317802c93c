"""What a training started from, and that one from, as far back as the registry knows."""

from collections.abc import Collection, Mapping
from pathlib import PurePath

from pipeline.errors import DatasetError
from pipeline.evaluation.start import NONE, Contamination, is_published
from pipeline.tracking.dataset import known_images
from pipeline.tracking.record import WEIGHTS
from pipeline.tracking.store import Store


def contamination(
    client: Store, start: Mapping[str, str], test_images: Collection[str]
) -> Contamination:
    """Return what the weights that a training started from, *start* in its card, know of the test
    images, given by their sha256.

    Followed by the hashes of the weights: from a version to what its run says it started from.
    """
    line: list[str] = []
    images, passed = set[str](), set[str]()
    first, sha256 = start.get("weights", NONE), start.get("sha256", "")
    while first != NONE and not is_published(first) and sha256 not in passed:
        found = _version_of(client, sha256)
        if found is None:
            break
        name, run_id, knows = found
        passed.add(sha256)
        line.append(name)
        images |= knows.intersection(test_images)
        params = client.get_run(run_id).data.params
        first, sha256 = params.get("start.weights", NONE), params.get("start.sha256", "")
    return Contamination(tuple(line), _shown(first), len(images))


def _version_of(client: Store, sha256: str) -> tuple[str, str, frozenset[str]] | None:
    """Return a version of those weights whose run says what it was trained on: its name, its run,
    the images that it knows."""
    if not sha256:
        return None
    for version in client.search_model_versions(f"tags.`{WEIGHTS}` = '{sha256}'"):
        try:
            knows = known_images(client, version.run_id) if version.run_id else None
        except DatasetError:  # a table that is damaged
            continue
        if knows is not None:
            return f"version {version.version} of {version.name}", str(version.run_id), knows
    return None


def _shown(weights: str) -> str:
    """A file goes by its name alone: its folder is nobody's business."""
    return PurePath(weights).name if weights.endswith(".safetensors") else weights
