"""What vouches for the files of a stored model: its version's tags, whoever wrote them."""

from pathlib import Path
from typing import Any, TypeGuard

from pipeline.cards import parse_json, read_json
from pipeline.errors import ArtefactError
from pipeline.export.artefact import DIGESTS, digest_of
from pipeline.tracking.packaging import FILES, SERVING, SIZES
from pipeline.tracking.registry import Version

MEND = "register it again (darkroom register), or put that file of the artefact back"
_DIGESTS_BYTES = 2**20


def stated_files(version: Version) -> dict[str, str]:
    try:
        stated = parse_json(version.tags[FILES])
    except ValueError:
        stated = None
    if not _names_files(stated) or "MLmodel" not in stated:  # of no file at all, all agree
        raise _unstated(version, FILES)
    return dict(stated)


def stated_sizes(version: Version) -> dict[str, int]:
    """Return what an older Darkroom did not state: nothing."""
    try:
        sizes = parse_json(version.tags.get(SIZES, "{}"))
    except ValueError:
        sizes = None
    if not isinstance(sizes, dict) or not all(isinstance(size, int) for size in sizes.values()):
        raise _unstated(version, SIZES)
    return sizes


def sealed_files(folder: Path, version: Version) -> dict[str, str]:
    """What digests.json in *folder* states, once it is the one that was registered."""
    file = folder / DIGESTS
    try:
        stated = read_json(file) if file.stat().st_size <= _DIGESTS_BYTES else None
    except ValueError:
        stated = None
    if not _names_files(stated) or digest_of(stated) != version.serving_digest:
        raise ArtefactError(
            f"{version.name} version {version.number} is not the one that was registered",
            f"changed: {SERVING}/{DIGESTS}",
            mend=MEND,
        )
    return dict(stated)


def _unstated(version: Version, tag: str) -> ArtefactError:
    return ArtefactError(
        f"{version.name} version {version.number} does not say what its files are",
        f"its tag {tag} is damaged",
        mend="register it again: darkroom register",
    )


def _names_files(stated: Any) -> TypeGuard[dict[str, str]]:
    """Whether *stated* maps names, each within its folder, to digests."""
    return isinstance(stated, dict) and all(
        isinstance(digest, str) and name and not name.startswith("/") and ".." not in name
        for name, digest in stated.items()
    )
