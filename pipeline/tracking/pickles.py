"""Pickles: files that run code when they are opened. A registered model has none.

Darkroom's own files are neither pickles nor archives, but for NumPy's .npz: what an archive holds
is looked at too, and one that another reader may take for something else is refused.
"""

import io
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np

_SUFFIXES = {".pkl", ".pickle", ".pth", ".pt", ".pt2", ".joblib"}
_PROTOCOL = re.compile(rb"\x80[\x02-\x05]")
"""How a pickle begins, since Python 2.3; older ones begin with anything."""
_ARCHIVE, _ARRAY = b"PK\x03\x04", b"\x93NUMPY"
_MEMBERS, _BYTES = 1000, 512 * 2**20
"""Of an archive; an .npz of ours holds two arrays, of 32 images."""


def find_pickles(folder: Path) -> list[str]:
    """Return the files under *folder* that are pickles by name or by content, and archives that
    hold one, as torch's do; nothing is imported, and nothing called."""
    return [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and (_is_named_so(path.name) or _holds_one(path.read_bytes()))
    ]


def _is_named_so(name: str) -> bool:
    return Path(name).suffix.lower() in _SUFFIXES


def _holds_one(data: bytes) -> bool:
    archive = _archive(data)
    if archive is None:  # a damaged archive may be whole to another reader
        return data.startswith(_ARCHIVE) or _is_one(data)
    with archive:
        members = archive.infolist()
        begins = min(member.header_offset for member in members)
        size = sum(member.file_size for member in members)
        if begins != 0 or len(members) > _MEMBERS or size > _BYTES:
            return True
        if any(_is_named_so(member.filename) for member in members):
            return True
        try:
            return any(_is_hidden(archive.read(member)) for member in members)
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, ValueError):
            return True  # encrypted, or packed in a way that is not ours


def _is_hidden(data: bytes) -> bool:
    return _is_one(data) or data.startswith(_ARCHIVE) or _archive(data) is not None


def _archive(data: bytes) -> zipfile.ZipFile | None:
    """Open *data* where it is a zip that holds something, also behind other bytes."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return None
    return archive if archive.infolist() else None


def _is_one(data: bytes) -> bool:
    if data.startswith(_ARRAY):
        return _is_of_objects(data)
    return bool(_PROTOCOL.match(data)) or _asks_for_code(data)


def _is_of_objects(data: bytes) -> bool:
    """Whether NumPy would unpickle what comes after the array's head, or cannot say."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        old = version == (1, 0)
        read = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
        _, _, dtype = read(stream)
    except Exception:  # it raises anything on other bytes
        return True
    return bool(dtype.hasobject)


class _CodeFound(Exception):
    pass


class _Asked:
    """Stands for whatever a pickle wants to import; any use of it is found."""

    def _found(self, *args: object) -> NoReturn:
        raise _CodeFound

    __call__ = __getattribute__ = __setitem__ = _found


class _Reader(pickle._Unpickler):  # in Python, whose memory grows with the file alone
    """Follows a pickle's instructions with nothing to import and nothing to call.

    Python's own reader, and not `pickletools`: that one gives up where this one goes on.
    """

    asked = False
    read: Callable[[int], bytes]
    append: Callable[[object], None]
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> _Asked:
        if not all(part.isidentifier() for part in module.split(".")):
            raise ImportError  # a text whose first letter is an instruction
        self.asked = True
        return _Asked()

    def _read_bytearray(self) -> None:
        """Python's own makes room for as many bytes as the file says, before it reads them."""
        size = int.from_bytes(self.read(8), "little")
        self.append(bytearray(self.read(size)))

    dispatch[pickle.BYTEARRAY8[0]] = _read_bytearray


def _asks_for_code(data: bytes) -> bool:
    """Whether *data*, read as pickles one after the other, would import something, and call it or
    come to its end: the first lines of a text may look like an import."""
    stream = io.BytesIO(data)
    try:
        while True:
            reader = _Reader(stream)
            reader.load()
            if reader.asked:
                return True
    except _CodeFound:
        return True
    except Exception:  # it raises anything on other bytes
        return False
