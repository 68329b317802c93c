"""What changed in a dataset, as one page with pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.diff import NO_CLASS, Change, Diff, by_class
from pipeline.data.pages import render_page
from pipeline.data.thumbnails import thumbnails

_PICTURES = 200
"""Of each kind of change, on the page."""
_SIDE = 96


@dataclass(frozen=True)
class Kind:
    """One section of the page."""

    key: str
    title: str
    changes: Sequence[Change]

    @property
    def pictured(self) -> Sequence[Change]:
        """Every so many-th, where there are too many: all classes are seen."""
        step = -(-len(self.changes) // _PICTURES) or 1
        return self.changes[::step]


def render(found: Diff, images: Path, cache: Path, removed: Mapping[str, str]) -> str:
    """Return the page. Pictures lie in *images*; those that are gone, by their name in the
    dataset, under the name in *cache* that *removed* gives."""
    kinds = (
        Kind("added", "Added", found.added),
        Kind("removed", "Removed", found.removed),
        Kind("relabelled", "Relabelled", found.relabelled),
    )
    files = [change.row.file for kind in kinds for change in kind.pictured]
    gone = {file: removed[file] for file in files if file in removed}
    kept = thumbnails(images, [file for file in files if file not in gone], _SIDE)
    old = thumbnails(cache, gone.values(), _SIDE)
    return render_page(
        Path(__file__).with_suffix(".html"),
        found=found,
        kinds=kinds,
        classes=by_class(found),
        no_class=NO_CLASS,
        pictures=kept | {file: old[name] for file, name in gone.items()},
    )
