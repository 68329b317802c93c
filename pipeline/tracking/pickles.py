"""Pickles: files that run code when they are opened. A registered model has none."""

import io
import pickletools
import re
import zipfile
from pathlib import Path

_SUFFIXES = {".pkl", ".pickle", ".pth", ".pt", ".pt2", ".joblib"}
_PROTOCOL = re.compile(rb"\x80[\x02-\x05]")
"""How a pickle begins, since Python 2.3; older ones begin with anything."""


def find_pickles(folder: Path) -> list[str]:
    """Return the files under *folder* that are pickles by name or by content, and archives that
    hold one, as torch's do; nothing is unpickled."""
    return [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and (_is_named_so(path.name) or _holds_one(path))
    ]


def _is_named_so(name: str) -> bool:
    return Path(name).suffix.lower() in _SUFFIXES


def _holds_one(path: Path) -> bool:
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                return any(map(_is_named_so, archive.namelist()))
        except (zipfile.BadZipFile, OSError, ValueError):
            return False
    data = path.read_bytes()
    return bool(_PROTOCOL.match(data)) or _is_whole(data)


def _is_whole(data: bytes) -> bool:
    """Whether *data* can be read as a pickle's instructions, to the one that ends it."""
    try:
        for opcode, _, _ in pickletools.genops(io.BytesIO(data)):
            if opcode.name == "STOP":
                return True
    except Exception:  # it raises anything on other bytes
        return False
    return False
