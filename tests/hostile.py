"""A folder of hostile and odd files, and what must become of each.

Every image has pixels of its own, so that none is another's duplicate unless it is meant to be.
"""

import hashlib
import io
import os
import random
import socket
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin

TAKEN, IGNORED = "taken", "ignored"
"""What may become of a file, besides the reasons of the quarantine."""
DAMAGED = ("damaged", "not_an_image")
"""Where a decoder gives up is its own affair."""
SIZE = (40, 24)
DEEPEST = 64

Size = tuple[int, int]


@dataclass(frozen=True)
class Case:
    path: str
    """Below the source, as the system names it."""
    fates: tuple[str, ...]
    """TAKEN, IGNORED, or a reason of the quarantine: one of these."""
    size: Size | None = None
    """Of the upright picture, if it is taken."""
    shown: str | None = None
    """As tables name it, if not by its path."""

    @property
    def name(self) -> str:
        return self.path if self.shown is None else self.shown


@dataclass(frozen=True)
class File:
    """A regular file of the corpus: its bytes decide what must become of it."""

    name: str
    data: bytes
    fates: tuple[str, ...] = (TAKEN,)
    size: Size | None = None
    shown: str | None = None


def write_corpus(source: Path, outside: Path) -> list[Case]:
    """Write the corpus into *source*, in two classes, and into *outside*, the folder beside it,
    what no ingest may open."""
    source.mkdir(parents=True)
    outside.mkdir(parents=True)
    cases = []
    for group in (
        cut_off,
        flipped,
        bombs,
        disguised,
        modes,
        deep_greys,
        animated,
        orientations,
        notes,
        shapes,
        twelve_megapixels,
    ):
        cases += _lay(source, f"bytes/{group.__name__}", group())
    cases += _lay(source, "places/names", odd_names())
    cases += _lay(source, "places/clutter", clutter())
    cases += list(chain(copies(source), links(source, outside), no_files(source), folders(source)))
    cases += list(forbidden(source))
    assert len({case.path for case in cases}) == len(cases)
    return cases


def everything_in(folder: Path) -> dict[str, tuple[object, ...]]:
    """All that can be seen of a tree without following a link, but for access times."""
    found = {}
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files, "."]:
            path = Path(parent, name)
            seen = path.lstat()
            is_small_file = path.is_file() and not path.is_symlink() and seen.st_size < 2**28
            found[str(path)] = (
                seen.st_mode,
                seen.st_size,
                seen.st_mtime_ns,
                seen.st_ctime_ns,
                seen.st_ino,
                seen.st_nlink,
                path.readlink() if path.is_symlink() else None,
                hashlib.sha256(path.read_bytes()).digest() if is_small_file else None,
            )
    return found


def _lay(source: Path, folder: str, files: Iterator[File]) -> Iterator[Case]:
    (source / folder).mkdir(parents=True)
    for file in files:
        (source / folder / file.name).write_bytes(file.data)
        shown = None if file.shown is None else f"{folder}/{file.shown}"
        yield Case(f"{folder}/{file.name}", file.fates, file.size, shown)


class _Noise:
    """Pixels that nobody else in the corpus has."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(13)

    def __call__(self, mode: str = "RGB", size: Size = SIZE) -> Image.Image:
        width, height = size
        if mode == "1":
            return self("L", size).convert("1")
        if mode == "F":
            values = self._random.random((height, width), np.float32)
            return Image.fromarray(values)
        a_pixel = {"LA": 2, "PA": 2, "I;16": 2, "I;16B": 2, "L": 1, "P": 1}
        a_pixel |= {"RGB": 3, "YCbCr": 3, "LAB": 3}
        data = self._random.bytes(width * height * a_pixel.get(mode, 4))
        image = Image.frombytes(mode, size, data)
        if mode in ("P", "PA"):
            image.putpalette(self._random.bytes(768))
        return image


noise = _Noise()


def encode(image: Image.Image, image_format: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, image_format, **options)
    return out.getvalue()


FORMATS: dict[str, Callable[[], bytes]] = {
    "jpg": lambda: encode(noise(), "JPEG"),
    "progressive.jpg": lambda: encode(noise(), "JPEG", progressive=True),
    "png": lambda: encode(noise(), "PNG"),
    "gif": lambda: encode(noise("P"), "GIF"),
    "bmp": lambda: encode(noise(), "BMP"),
    "webp": lambda: encode(noise(), "WEBP"),
    "lossless.webp": lambda: encode(noise(), "WEBP", lossless=True),
    "tif": lambda: encode(noise(), "TIFF"),
    "lzw.tif": lambda: encode(noise(), "TIFF", compression="tiff_lzw"),
}


def cut_off() -> Iterator[File]:
    for ending, make in FORMATS.items():
        for percent in (10, 50, 90, 99):
            data = make()
            yield File(f"{percent}.{ending}", data[: len(data) * percent // 100], DAMAGED)


def flipped() -> Iterator[File]:
    """A bit may be a pixel's, which no format checks but PNG, or claim 4,000 megapixels."""
    for ending, make in FORMATS.items():
        for seed in range(4):
            data, dice = bytearray(make()), random.Random(f"{ending}{seed}")
            for _ in range(3):
                data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
            yield File(f"{seed}.{ending}", bytes(data), (TAKEN, *DAMAGED, "too_many_pixels"))


def bombs() -> Iterator[File]:
    """A few KB that would be gigabytes, or hours."""
    too_many = ("too_many_pixels",)
    yield File("50000.png", png(50_000, 50_000, zlib.compress(bytes(10**6))), too_many)
    yield File("10000.png", png(10_000, 10_000, zlib.compress(bytes(10**6))), too_many)
    yield File("50000.bmp", bmp(50_000, 50_000), too_many)
    yield File("negative.bmp", bmp(50_000, -50_000), too_many)
    yield File("50000.gif", gif((50_000, 50_000), SIZE), too_many)
    yield File("frame.gif", gif((1, 1), (50_000, 50_000)), too_many)
    yield File("50000.tif", tiff(50_000, 50_000, 50_000, bytes(100)), too_many)
    yield File("tile.tif", tiff(100, 100, 40_000, zlib.compress(bytes(10**6))), too_many)
    yield File("16383.webp", webp(16_383), too_many)
    yield File("canvas.webp", webp_canvas(50_000), too_many)
    yield File("65500.jpg", jpeg_claiming(65_500), too_many)
    yield File("scans.jpg", jpeg_of_scans((4000, 3000), 10_000), ("too_many_scans",))
    yield File("empty.png", png(7_000, 7_000, zlib.compress(b"")), ("damaged",))
    yield File("empty.gif", gif((7_000, 7_000), (7_000, 7_000)), ("damaged",))


def disguised() -> Iterator[File]:
    yield File("png.jpg", encode(noise(), "PNG"), size=SIZE)
    yield File("jpeg.txt", encode(noise(), "JPEG"), size=SIZE)
    yield File("gif", encode(noise("P"), "GIF"), size=SIZE)
    yield File("webp.exe", encode(noise(), "WEBP"), size=SIZE)
    none = ("not_an_image",)
    yield File("empty.jpg", b"", ("empty",))
    yield File("zeros.jpg", bytes(4096), none)
    yield File("text.jpg", b"a cat, asleep", none)
    yield File("eps.jpg", encode(noise(), "EPS"), none)
    yield File("pdf.jpg", encode(noise(), "PDF"), none)
    yield File("ppm.jpg", encode(noise(), "PPM"), none)
    yield File("ico.jpg", encode(noise(), "ICO"), none)
    yield File("svg.jpg", b'<svg xmlns="http://www.w3.org/2000/svg"><circle r="9"/></svg>', none)
    yield File("html.jpg", b"<!DOCTYPE html><script>alert(1)</script>", none)
    yield File("zip.jpg", b"PK\3\4" + bytes(100), none)
    yield File("elf.jpg", b"\x7fELF\2\1\1" + bytes(100), none)
    yield File("shell.png", b"#!/bin/sh\nrm -rf ~\n", none)
    yield File("soi.jpg", b"\xff\xd8", none)
    yield File("signature.png", b"\x89PNG\r\n\x1a\n", none)
    yield File("gifar.gif", encode(noise("P"), "GIF") + b"PK\3\4" + bytes(100), size=SIZE)
    yield File("trailing.jpg", encode(noise(), "JPEG") + b"<?php system('id'); ?>", size=SIZE)


def modes() -> Iterator[File]:
    """Every way in which a format stores its pixels."""
    stored = {
        "JPEG": ("L", "RGB", "CMYK", "YCbCr"),
        "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
        "GIF": ("1", "L", "P", "RGB", "RGBA"),
        "BMP": ("1", "L", "P", "RGB", "RGBA"),
        "WEBP": ("L", "LA", "P", "RGB", "RGBA"),
        "TIFF": ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F", "LAB"),
        "tiff": ("I;16", "I;16B"),
    }
    for image_format, names in stored.items():
        for mode in names:
            data = encode(noise(mode), image_format)
            yield File(f"{mode} {image_format}".replace(";", "-"), data, size=SIZE)
    for image_format in ("PNG", "GIF"):
        data = encode(noise("P"), image_format, transparency=3)
        yield File(f"P transparent {image_format}", data, size=SIZE)
    yield File("P alphas PNG", encode(noise("P"), "PNG", transparency=bytes(range(256))), size=SIZE)
    colour = encode(noise(), "PNG", transparency=(1, 2, 3))
    yield File("RGB transparent PNG", colour, size=SIZE)


def deep_greys() -> Iterator[File]:
    yield File("16 bit RGB.png", png(*SIZE, _rows(noise("RGB", (80, 24)), 240), 16, 2), size=SIZE)
    yield File("16 bit LA.png", png(*SIZE, _rows(noise("LA", (80, 24)), 160), 16, 4), size=SIZE)
    yield File("2 bit.png", png(*SIZE, _rows(noise("L", (10, 24)), 10), 2, 0), size=SIZE)
    nothing = Image.fromarray(np.full((24, 40), np.nan, np.float32))
    yield File("nan.tif", encode(nothing, "TIFF"), size=SIZE)
    infinite = Image.fromarray(np.full((24, 40), np.inf, np.float32))
    yield File("infinite.tif", encode(infinite, "TIFF"), size=SIZE)


def animated() -> Iterator[File]:
    for image_format, ending in (("GIF", "gif"), ("WEBP", "webp"), ("PNG", "png")):
        data = encode(noise(), image_format, save_all=True, append_images=[noise(), noise()])
        yield File(f"animated.{ending}", data, size=SIZE)
    pages = encode(noise(), "TIFF", save_all=True, append_images=[noise(size=(9, 9))])
    yield File("pages.tif", pages, size=SIZE)
    mpo = encode(noise(), "MPO", save_all=True, append_images=[noise()])
    yield File("phone.jpg", mpo, size=SIZE)
    yield File("loop.tif", _with_itself_as_next_page(encode(noise(), "TIFF")), size=SIZE)


def orientations() -> Iterator[File]:
    for image_format, ending in (("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp")):
        for orientation in range(1, 9):
            exif = Image.Exif()
            exif[ExifTags.Base.Orientation] = orientation
            size = SIZE if orientation < 5 else SIZE[::-1]
            data = encode(noise(), image_format, exif=exif)
            yield File(f"{orientation}.{ending}", data, size=size)


def notes() -> Iterator[File]:
    """What travels beside the pixels: it must not cost them, nor gigabytes."""
    broken = {
        "text": b"no EXIF at all",
        "nowhere": b"II*\0\xff\xff\xff\x7f",
        "itself": b"II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\0\0\0\0",
        "count": b"II*\0\x08\0\0\0\xff\xff\x12\x01\x03\0\xff\xff\xff\xff\0\0\0\0",
        "text for a number": b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0six\0\0\0\0\0",
        "orientation 99": b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0\0\0\0\0",
    }
    for name, payload in broken.items():
        data = encode(noise(), "JPEG", exif=b"Exif\0\0" + payload)
        yield File(f"EXIF {name}.jpg", data, size=SIZE)
    yield File("EXIF 64 KB.jpg", encode(noise(), "JPEG", exif=b"Exif\0\0" + bytes(65_000)))
    yield File("ICC 10 MB.jpg", encode(noise(), "JPEG", icc_profile=bytes(10**7)), size=SIZE)
    yield File("ICC 1 MB.webp", encode(noise(), "WEBP", icc_profile=bytes(10**6)), size=SIZE)
    yield File("comment.gif", encode(noise("P"), "GIF", comment=b"x" * 10**5), size=SIZE)
    bomb = zlib.compress(bytes(10**8), 9)
    for kind, head in (("zTXt", b"a\0\0"), ("iTXt", b"a\0\1\0\0\0"), ("iCCP", b"a\0\0")):
        data = _with_chunk(encode(noise(), "PNG"), kind.encode(), head + bomb)
        yield File(f"{kind} of 100 MB.png", data, DAMAGED)
    many = PngImagePlugin.PngInfo()
    for number in range(2000):
        many.add_text(f"key{number}", "x" * 100, zip=True)
    yield File("2000 texts.png", encode(noise(), "PNG", pnginfo=many), size=SIZE)


def shapes() -> Iterator[File]:
    for ending, name in (("png", "PNG"), ("jpg", "JPEG"), ("gif", "GIF"), ("bmp", "BMP")):
        for size in ((1, 1), (1, 20_000), (20_000, 1), (2, 3)):
            image = noise("L" if name == "GIF" else "RGB", size)
            yield File(f"{size[0]} x {size[1]}.{ending}", encode(image, name), size=size)
    yield File("nothing.gif", gif((0, 0), (0, 0)), DAMAGED)
    yield File("nothing.png", png(0, 0, zlib.compress(b"")), DAMAGED)


def twelve_megapixels() -> Iterator[File]:
    size = (4000, 3000)
    slope = _slope(size)
    yield File("12.jpg", encode(slope, "JPEG"), size=size)
    yield File("12.progressive.jpg", encode(slope, "JPEG", progressive=True, quality=90), size=size)
    yield File("12.png", encode(slope, "PNG", compress_level=1), size=size)
    yield File("12.gif", encode(slope.getchannel(0), "GIF"), size=size)
    yield File("12.bmp", encode(slope, "BMP"), size=size)
    yield File("12.webp", encode(slope, "WEBP", method=0), size=size)
    yield File("12.tif", encode(slope, "TIFF"), size=size)
    yield File("12.alpha.png", encode(slope.convert("RGBA"), "PNG", compress_level=1), size=size)
    deep = Image.fromarray(np.asarray(slope.getchannel(0)).astype(np.uint16) * 257)
    yield File("12.deep.tif", encode(deep, "TIFF"), size=size)
    floats = Image.fromarray(np.asarray(slope.getchannel(0)).astype(np.float32))
    yield File("12.float.tif", encode(floats, "TIFF", compression="tiff_lzw"), size=size)


def nearly_fifty_megapixels() -> Iterator[File]:
    size = (7064, 7064)
    slope = _slope(size)
    yield File("50.jpg", encode(slope, "JPEG"), size=size)
    yield File("50.progressive.jpg", encode(slope, "JPEG", progressive=True), size=size)
    yield File("50.png", encode(slope, "PNG", compress_level=1), size=size)
    yield File("50.alpha.png", encode(slope.convert("RGBA"), "PNG", compress_level=1), size=size)
    yield File("50.gif", encode(slope.getchannel(0), "GIF"), size=size)
    yield File("50.webp", encode(slope, "WEBP", method=0), size=size)
    yield File("50.canvas.webp", webp_canvas(7064), size=size)
    yield File("50.tif", encode(slope, "TIFF", compression="tiff_lzw"), size=size)


def odd_names() -> Iterator[File]:
    def image() -> bytes:
        return encode(noise(), "PNG")

    for name in (
        "-rf.png",
        "--help.png",
        'it\'s "quoted".png',
        "a,b.png",
        "=cmd|'calc'!A0.png",
        "@sum.png",
        "+1.png",
        "%s%n.png",
        "$(touch x).png",
        "`id`.png",
        "a;b&c|d.png",
        "*.png",
        "~root.png",
        " leading.png",
        "trailing.png ",
        "CON",
        "no.dots.at.all.",
        "😀.png",
        "x" * 251 + ".png",
        "ж" * 125 + ".png",
        "猫.PNG",
        "#1.png",
    ):
        yield File(name, image(), size=SIZE)
    # What no table or terminal can hold as it is, and how it is written there
    for name, shown in (
        ("line\nbreak.png", r"line\u000abreak.png"),
        ("tab\tbed.png", r"tab\u0009bed.png"),
        ("carriage\rreturn.png", r"carriage\u000dreturn.png"),
        ("\x1b[31mred.png", r"\u001b[31mred.png"),
        ("back\\slash.png", r"back\\slash.png"),
        ("gnp.\u202ejpg", r"gnp.\u202ejpg"),
        ("zero\u200bwidth.png", r"zero\u200bwidth.png"),
        (os.fsdecode(b"\xff\xfe.png"), r"\xff\xfe.png"),
        (os.fsdecode(b"caf\xe9.png"), r"caf\xe9.png"),
        (r"\xff\xfe.png", r"\\xff\\xfe.png"),
    ):
        yield File(name, image(), size=SIZE, shown=shown)


def clutter() -> Iterator[File]:
    for name in (".hidden.png", ".DS_Store", "._resource.png", "Thumbs.db", "desktop.ini"):
        yield File(name, encode(noise(), "PNG"), (IGNORED,))


def copies(source: Path) -> Iterator[Case]:
    folder, twin = source / "places/copies", source / "bytes/twin.png"
    folder.mkdir()
    (folder / "1.png").write_bytes(encode(noise(), "PNG"))
    (folder / "2.png").write_bytes((folder / "1.png").read_bytes())
    (folder / "3.png").hardlink_to(folder / "1.png")
    yield Case("places/copies/1.png", (TAKEN,), SIZE)
    yield Case("places/copies/2.png", ("duplicate",))
    yield Case("places/copies/3.png", ("duplicate",))
    twin.write_bytes(encode(noise(), "PNG"))
    (folder / "twin.png").write_bytes(twin.read_bytes())
    yield Case("bytes/twin.png", ("label_conflict",))
    yield Case("places/copies/twin.png", ("label_conflict",))


def links(source: Path, outside: Path) -> Iterator[Case]:
    folder = source / "places/links"
    folder.mkdir()
    (outside / "secret.png").write_bytes(encode(noise(), "PNG"))
    (outside / "folder").mkdir()
    (outside / "folder/secret.png").write_bytes(encode(noise(), "PNG"))
    targets = {
        "outside.png": outside / "secret.png",
        "outside": outside / "folder",
        "relative.png": Path("../../../outside/secret.png"),
        "inside.png": Path("../names/猫.PNG"),
        "zero.png": Path("/dev/zero"),
        "passwd.png": Path("/etc/passwd"),
        "dangling.png": Path("nowhere.png"),
        "loop.png": Path("loop.png"),
        "root": Path("/"),
        "parent": Path(".."),
    }
    for name, target in targets.items():
        (folder / name).symlink_to(target)
        yield Case(f"places/links/{name}", ("not_a_file",))
    (source / "linked class").symlink_to(outside / "folder")
    yield Case("linked class", ("not_a_file",))
    (outside / "honest.png").write_bytes(encode(noise(), "PNG"))
    (folder / "hard.png").hardlink_to(outside / "honest.png")
    yield Case("places/links/hard.png", (TAKEN,), SIZE)


def no_files(source: Path) -> Iterator[Case]:
    folder = source / "places/no files"
    folder.mkdir()
    os.mkfifo(folder / "pipe.png")
    yield Case("places/no files/pipe.png", ("not_a_file",))
    with socket.socket(socket.AF_UNIX) as bound:
        descriptor = os.open(folder, os.O_RDONLY)
        bound.bind(f"/proc/self/fd/{descriptor}/socket.png")  # the whole path is too long for it
        os.close(descriptor)
    yield Case("places/no files/socket.png", ("not_a_file",))
    with suppress(PermissionError):  # root's alone, and not every container's root's
        os.mknod(folder / "zero.png", 0o666 | stat.S_IFCHR, os.makedev(1, 5))
        yield Case("places/no files/zero.png", ("not_a_file",))
    with (folder / "sparse.png").open("wb") as out:
        out.truncate(2**30)
    yield Case("places/no files/sparse.png", ("too_large",))


def folders(source: Path) -> Iterator[Case]:
    def image(path: str) -> str:
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes(encode(noise(), "PNG"))
        return path

    yield Case(image("places/folder.jpg/image.png"), (TAKEN,), SIZE)
    yield Case(image("places/.hidden/image.png"), (IGNORED,))
    yield Case(
        image("places/odd\nfolder/image.png"), (TAKEN,), SIZE, r"places/odd\u000afolder/image.png"
    )
    (source / "places/empty").mkdir()
    yield Case(image("loose.png"), ("no_class",))
    yield Case(image("places" + "/deep" * (DEEPEST - 2) + "/image.png"), (TAKEN,), SIZE)
    deepest = "places" + "/deep" * (DEEPEST - 1)
    yield Case(image(deepest + "/deep" * 6 + "/image.png"), ("too_deep",), shown=deepest)


def forbidden(source: Path) -> Iterator[Case]:
    """What its owner may not read; root may, so that there is nothing to show."""
    if os.geteuid() == 0:
        return
    folder = source / "places/forbidden"
    folder.mkdir()
    (folder / "file.png").write_bytes(encode(noise(), "PNG"))
    (folder / "file.png").chmod(0)
    yield Case("places/forbidden/file.png", ("unreadable",))
    (folder / "folder").mkdir()
    (folder / "folder").chmod(0)
    yield Case("places/forbidden/folder", ("unreadable",))


def png(width: int, height: int, pixels: bytes, bits: int = 8, colours: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _with_chunk(data: bytes, kind: bytes, content: bytes) -> bytes:
    after_header = 8 + 25
    return data[:after_header] + _chunk(kind, content) + data[after_header:]


def _rows(image: Image.Image, a_row: int) -> bytes:
    """The bytes of *image* as a PNG's rows, unfiltered."""
    data = image.tobytes()
    return zlib.compress(
        b"".join(b"\0" + data[at : at + a_row] for at in range(0, len(data), a_row))
    )


def bmp(width: int, height: int) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 1000, 0, 0, 54) + header + bytes(1000)


def gif(screen: Size, frame: Size) -> bytes:
    palette = bytes(768)
    head = b"GIF89a" + struct.pack("<HHBBB", *screen, 0xF7, 0, 0) + palette
    return head + b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x08\x02\x84\x01\0;"


def tiff(width: int, height: int, tile: int, pixels: bytes) -> bytes:
    """Grey, deflated, in one square tile."""
    tags = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 277: 1, 322: tile, 323: tile}
    after = 8 + 2 + 12 * (len(tags) + 2) + 4
    tags |= {324: after, 325: len(pixels)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0\x08\0\0\0" + directory + pixels


def _with_itself_as_next_page(data: bytes) -> bytes:
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    end = start + 2 + 12 * count
    return data[:end] + struct.pack("<I", start) + data[end + 4 :]


def webp(side: int) -> bytes:
    """A lossy picture that claims *side* × *side* pixels."""
    data = bytearray(encode(noise(size=(16, 16)), "WEBP"))
    at = data.index(b"\x9d\x01\x2a") + 3
    data[at : at + 4] = struct.pack("<HH", side, side)
    return bytes(data)


def webp_canvas(side: int) -> bytes:
    """A small picture on a large canvas, as the only one of an animation."""

    def three(value: int) -> bytes:
        return value.to_bytes(3, "little")

    def chunk(kind: bytes, data: bytes) -> bytes:
        return kind + struct.pack("<I", len(data)) + data

    picture = encode(noise(size=(16, 16)), "WEBP")[12:]
    frame = three(0) * 2 + three(15) * 2 + three(100) + b"\0" + picture
    canvas = b"\x02\0\0\0" + three(side - 1) * 2
    body = chunk(b"VP8X", canvas) + chunk(b"ANIM", bytes(6)) + chunk(b"ANMF", frame)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def jpeg_claiming(side: int) -> bytes:
    data = bytearray(encode(noise(), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", side, side)
    return bytes(data)


def jpeg_of_scans(size: Size, scans: int) -> bytes:
    """A progressive JPEG whose last scan, of 26 bytes, is there *scans* times more."""
    data = encode(Image.new("RGB", size, (9, 99, 200)), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * scans + data[-2:]


def _slope(size: Size) -> Image.Image:
    """Colours that change slowly: many pixels, few bytes."""
    width, height = size
    across = np.linspace(0, 255, width).astype(np.uint8)
    down = np.linspace(0, 255, height).astype(np.uint8)
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[..., 0], pixels[..., 1], pixels[..., 2] = across, down[:, None], 99
    return Image.fromarray(pixels)
