"""Where labelled images come from: class folders, a list of images, or the embedded digits."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.data import folders, listing
from pipeline.data.digits import DIGITS, write_digits
from pipeline.data.folders import Entry
from pipeline.errors import SourceError
from pipeline.workspace import Home


@dataclass(frozen=True)
class Source:
    name: str
    """As `data.source` says it."""
    root: Path
    """Nothing outside this folder is ever opened."""
    listing: Path | None = None
    """A CSV or Parquet file that names the images, and lies in *root*."""
    columns: tuple[str, ...] = ()
    """What the list says of each image besides its path and label."""

    def entries(self) -> Iterator[Entry]:
        if self.listing is None:
            return folders.entries(self.root)
        return listing.entries(self.listing, self.columns)


def open_source(name: str, home: Home) -> Source:
    """Return what *name* means; the digits are written out first where need be.

    Raises SourceError where it is missing, or neither a folder of class folders nor a list.
    """
    if name == DIGITS:
        folder = home.private / "sources/digits"
        write_digits(folder)
        return Source(name, folder)
    path = home.resolve(name)
    if path.is_file() and path.suffix.lower() in listing.SUFFIXES:
        return Source(name, path.parent, path, listing.columns(path))
    if not path.is_dir():
        raise SourceError(
            f"the source {name} is "
            + ("neither a folder nor a list of images" if path.exists() else "missing"),
            f"looked for {path}",
            mend="name, by --source or as data.source in params.yaml, a folder of class folders, "
            "or a .csv or .parquet file with the columns path and label",
        )
    _refuse_without_classes(name, path)
    return Source(name, path)


def _refuse_without_classes(name: str, folder: Path) -> None:
    children = list(folder.iterdir())
    if any(child.is_dir() and not child.name.startswith(".") for child in children):
        return
    loose = sum(child.is_file() for child in children)
    raise SourceError(
        f"the source {name} has no class folder",
        f"{folder} holds {loose} loose files" if loose else f"{folder} is empty",
        mend="put the images into one folder for each class, such as cat/ and dog/, "
        "or name them in a .csv file with the columns path and label",
    )
