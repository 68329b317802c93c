"""Pickles: files that run code when they are opened. A registered model has none.

Darkroom's own files are neither pickles nor archives, but for NumPy's .npz: what an archive holds
is looked at too, and one that another reader may take for something else is refused.

Nothing is built of what a file holds: its instructions are counted through, up to a limit.
"""

import io
import mmap
import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

_SUFFIXES = {".pkl", ".pickle", ".pth", ".pt", ".pt2", ".joblib"}
_PROTOCOL = re.compile(rb"\x80[\x02-\x05]")
"""How a pickle begins, since Python 2.3; older ones begin with anything."""
_ARCHIVE, _ARRAY = b"PK\x03\x04", b"\x93NUMPY"
_MEMBERS, _BYTES = 1000, 512 * 2**20
"""Of an archive; an .npz of ours holds two arrays, of 32 images."""
_ARRAY_HEAD = 2**16
"""Bytes; NumPy reads no head of more than 10,000."""
_INSTRUCTIONS = 200_000
"""What has so many of them, one after the other, is no text by chance."""
_OPCODES = {ord(each.code): each for each in pickletools.opcodes}
_LENGTHS = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
_NAMES_IMPORT = {"GLOBAL", "INST"}
_IMPORTS = {"STACK_GLOBAL", "EXT1", "EXT2", "EXT4", *_NAMES_IMPORT}
_USES = {
    *("REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ", "INST", "BUILD"),
    *("SETITEM", "SETITEMS", "APPEND", "APPENDS", "ADDITEMS", "STOP"),
}
"""Instructions that may call what was imported."""
_NEEDS_ONE = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
"""Which copy the last value, though pickletools says that they take none."""

Bytes = bytes | mmap.mmap


class _Ends(Exception):
    """No reader of pickles goes on here."""


def find_pickles(folder: Path) -> list[str]:
    """Return the files under *folder* that are pickles by name or by content, and archives that
    hold one, as torch's do; nothing is imported, nothing called, and no object made."""
    return [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and (_is_named_so(path.name) or _file_holds_one(path))
    ]


def _is_named_so(name: str) -> bool:
    return Path(name).suffix.lower() in _SUFFIXES


def _file_holds_one(path: Path) -> bool:
    with path.open("rb") as file:
        if path.stat().st_size == 0:  # which cannot be mapped
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _holds_one(data, file)


def _holds_one(data: Bytes, file: io.BufferedIOBase) -> bool:
    archive = _archive(file)
    if archive is None:  # a damaged archive may be whole to another reader
        return data[: len(_ARCHIVE)] == _ARCHIVE or _is_one(data)
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
    return _is_one(data) or data.startswith(_ARCHIVE) or _archive(io.BytesIO(data)) is not None


def _archive(file: io.BufferedIOBase) -> zipfile.ZipFile | None:
    """Open *file* where it is a zip that holds something, also behind other bytes."""
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return None
    return archive if archive.infolist() else None


def _is_one(data: Bytes) -> bool:
    if data[: len(_ARRAY)] == _ARRAY:
        return _is_of_objects(data[:_ARRAY_HEAD])
    return bool(_PROTOCOL.match(data)) or _asks_for_code(data)


def _is_of_objects(head: bytes) -> bool:
    """Whether NumPy would unpickle what comes after the array's *head*, or cannot say."""
    stream = io.BytesIO(head)
    try:
        version = np.lib.format.read_magic(stream)
        old = version == (1, 0)
        read = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
        _, _, dtype = read(stream)
    except Exception:  # it raises anything on other bytes
        return True
    return bool(dtype.hasobject)


def _asks_for_code(data: Bytes) -> bool:
    """Whether *data*, read as pickles one after the other, would import something, and call it or
    come to its end: the first lines of a text may look like an import.

    Also where it has more instructions than are followed.
    """
    asked, stack = False, _Stack()
    try:
        for count, (name, argument) in enumerate(_instructions(data)):
            stack.apply(name)
            if name in _NAMES_IMPORT and not _is_a_module(argument):
                return False  # a text whose first letter is an instruction
            asked = asked or name in _IMPORTS
            if (asked and name in _USES) or count == _INSTRUCTIONS:
                return True
            if name == "STOP":
                stack = _Stack()
    except _Ends:
        pass
    return False


def _is_a_module(argument: bytes) -> bool:
    try:
        return all(part.isidentifier() for part in argument.decode().split("."))
    except UnicodeDecodeError:
        return False


class _Stack:
    """How many values there are since each mark: a reader stops where one lacks."""

    def __init__(self) -> None:
        self.size, self.below = 0, list[int]()

    def apply(self, name: str) -> None:
        """Take and put as many values as instruction *name* does; raise _Ends where they lack."""
        taken, put = _EFFECTS[name]
        if name == "MARK":
            self.below.append(self.size)
            self.size = 0
        elif taken is None or (name == "POP" and not self.size):  # all since the last mark
            if not self.below:
                raise _Ends
            self.size = self.below.pop()
            self._change(*_BELOW_MARK.get(name, (0, put)))
        else:
            self._change(taken, put)
        if name in _NEEDS_ONE and not self.size:
            raise _Ends

    def _change(self, taken: int, put: int) -> None:
        if taken > self.size:
            raise _Ends
        self.size += put - taken


def _effect(opcode: pickletools.OpcodeInfo) -> tuple[int | None, int]:
    """How many values *opcode* takes and puts; None: all since a mark."""
    before = opcode.stack_before
    return None if pickletools.markobject in before else len(before), len(opcode.stack_after)


_EFFECTS = {each.name: _effect(each) for each in pickletools.opcodes}
_BELOW_MARK = {
    each.name: (each.stack_before.index(pickletools.markobject), len(each.stack_after))
    for each in pickletools.opcodes
    if pickletools.markobject in each.stack_before
} | {"POP": (0, 0)}
"""What those that take all since a mark take of what lies below it, and put there."""


def _instructions(data: Bytes) -> Iterator[tuple[str, bytes]]:
    """Yield each instruction with its argument, of one that names an import: the module.

    Arguments are passed over, not read: `pickletools.genops` gives up where one is no number to
    it, and a reader of pickles goes on.
    """
    place = 0
    while place < len(data):
        opcode = _OPCODES.get(data[place])
        if opcode is None:
            return
        start, place = place + 1, _behind(data, opcode, place + 1)
        names = opcode.name in _NAMES_IMPORT
        yield opcode.name, data[start : data.find(b"\n", start)] if names else b""


def _behind(data: Bytes, opcode: pickletools.OpcodeInfo, place: int) -> int:
    """Return where *opcode*'s argument, from *place* on, ends; raise _Ends where it is cut."""
    if opcode.arg is None:
        return place
    kind = opcode.arg.n
    if kind == pickletools.UP_TO_NEWLINE:
        for _ in range(2 if opcode.name in _NAMES_IMPORT else 1):
            place = data.find(b"\n", place) + 1
            if place == 0:
                raise _Ends
        return place
    if kind in _LENGTHS:
        head = data[place : place + _LENGTHS[kind]]
        signed = kind == pickletools.TAKEN_FROM_ARGUMENT4
        size = int.from_bytes(head, "little", signed=signed)
        if len(head) < _LENGTHS[kind] or size < 0:
            raise _Ends
        kind, place = size, place + len(head)
    if place + kind > len(data):
        raise _Ends
    return place + kind
