"""Hand-made catalogues: images that are nothing but their rows, no ingest behind them."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa

from pipeline.data.catalogue import CATALOGUE, Catalogue, CatalogueRow, write_catalogue
from pipeline.data.splits import USED


def image(
    content: object,
    label: str | None = "cat",
    *,
    path: str | None = None,
    copies: tuple[str, ...] = (),
    phash: int | None = None,
    **columns: str | None,
) -> CatalogueRow:
    """Return the row of an image, the same for equal *content*; *columns* are those of a list."""
    sha256 = hashlib.sha256(str(content).encode()).hexdigest()
    return CatalogueRow(
        sha256=sha256,
        file=f"{sha256[:2]}/{sha256}.png",
        path=path or f"{label}/{content}.png",
        copies=copies,
        label=label,
        bytes=100,
        width=64,
        height=48,
        mode="RGB",
        phash=None if phash is None else f"{phash:016x}",
        brightness=0.5,
        sharpness=9.0,
        columns=columns,
    )


def catalogue(rows: Iterable[CatalogueRow], source: str = "photos") -> Catalogue:
    return Catalogue(source, tuple(sorted(rows, key=lambda row: row.sha256)))


def one_in_each_split() -> list[CatalogueRow]:
    """Return the fewest images that can be split: of two classes, each fixed to its split."""
    return [
        image(number, label, split=name)
        for number, (label, name) in enumerate((c, s) for c in ("cat", "dog") for s in USED)
    ]


def table(rows: Sequence[CatalogueRow]) -> pa.Table:
    """Lay *rows*, all with the columns of the first, down as `ingest` does."""
    known = [pa.array([getattr(each, f.name) for each in rows], f.type) for f in CATALOGUE]
    others = list(rows[0].columns) if rows else []
    columns = [pa.array([each.columns[name] for each in rows], pa.string()) for name in others]
    return pa.table(known + columns, names=[*CATALOGUE.names, *others])


def write(path: Path, rows: Sequence[CatalogueRow], source: str = "photos") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_catalogue(path, table(rows), source)
