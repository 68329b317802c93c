"""A person's decisions about single images: data/corrections/*.csv, versioned in git."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import DatasetError

_MORE = "(more)"
"""Where the cells of a line go that has too many."""


@dataclass(frozen=True)
class Corrections:
    excluded: dict[str, str]
    """sha256 → a person's reason."""
    relabelled: dict[str, str]
    """sha256 → the right class."""


def read_corrections(folder: Path) -> Corrections:
    """Raise DatasetError naming a line that is no correction."""
    exclude = read_lines(folder / "exclude.csv", ("sha256", "reason"))
    return Corrections(
        excluded={row["sha256"]: row["reason"] for row in exclude},
        relabelled=read_relabelled(folder / "relabel.csv"),
    )


def read_relabelled(path: Path) -> dict[str, str]:
    """Return the right class of each image that a relabel.csv names, by sha256."""
    lines = read_lines(path, ("sha256", "label", "reason"))
    return {row["sha256"]: row["label"] for row in lines}


def read_lines(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the lines of one file of corrections; raise DatasetError naming a wrong one."""
    name = f"data/corrections/{path.name}"
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines, restkey=_MORE, skipinitialspace=True)
            if list(reader.fieldnames or ()) != list(columns):
                raise DatasetError(
                    f"{name} has other columns than it must",
                    f"its first line is {','.join(reader.fieldnames or ())!r}",
                    mend=f"make its first line {','.join(columns)}",
                )
            rows: dict[str, dict[str, str]] = {}
            for row in reader:
                where = f"{name}, line {reader.line_num}"
                correction = _correction(row, where, columns)
                if rows.setdefault(correction["sha256"], correction) != correction:
                    raise DatasetError(
                        f"{where} says otherwise of an image than a line above it",
                        f"sha256 {correction['sha256']}",
                        mend="remove one of the two lines",
                    )
            return list(rows.values())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"{name} cannot be read as a table",
            f"{type(error).__name__}: {error}",
            mend="save it as CSV in UTF-8, or git checkout -- " + name,
        ) from None


def _correction(row: dict[str, str], where: str, columns: Sequence[str]) -> dict[str, str]:
    cells = {column: (row.get(column) or "").strip() for column in columns}
    if _MORE in row:
        raise DatasetError(
            f"{where} has more cells than {', '.join(columns)}",
            f"beyond them: {', '.join(row[_MORE])}",
            mend="put a text that holds a comma between double quotes",
        )
    if set(row) != set(columns) or not all(cells.values()) or len(cells["sha256"]) != 64:
        raise DatasetError(
            f"{where} is not a correction",
            "it must hold the 64 digits of an image's sha256, then " + ", ".join(columns[1:]),
            mend="mend that line; data/dataset/catalogue.parquet names every image's sha256",
        )
    return cells | {"sha256": cells["sha256"].lower()}
