"""The one decoder: hostile bytes are refused by a word, honest ones come out as they look."""

import io
import struct
import subprocess
import sys
import threading
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hostile import jpeg_of_scans, tiff
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pipeline.errors import UnreadableImage
from pipeline.serving import images
from pipeline.serving.images import EXTENSIONS, Limits, inspect, to_square, turn_for

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")  # pytest shows what the module hides

ROOT = Path(__file__).parents[2]
LIMITS = Limits()
RED, BLUE, WHITE, BLACK = (255, 0, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)
NOISE = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
ORIENTATION = 0x0112


def encode(image: Image.Image, image_format: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, image_format, **options)
    return out.getvalue()


def colour(data: bytes) -> tuple[int, ...]:
    """The one colour of a plain image."""
    pixels = to_square(data, 4, LIMITS).reshape(-1, 3)
    assert (pixels == pixels[0]).all()
    return tuple(map(int, pixels[0]))


def claim(side: int, bits: int = 8) -> bytes:
    """A PNG that claims to be a grey square, and holds no pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", side, side, bits, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


def with_exif(payload: bytes) -> bytes:
    """The noise as a JPEG whose EXIF segment holds *payload*."""
    exif = b"Exif\0\0" + payload
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    return WHOLE["JPEG"][:2] + segment + WHOLE["JPEG"][2:]


def refusal(data: bytes, limits: Limits = LIMITS) -> UnreadableImage:
    """What `inspect` and `to_square` both say against *data*."""
    with pytest.raises(UnreadableImage) as inspected:
        inspect(data, limits)
    with pytest.raises(UnreadableImage) as squared:
        to_square(data, 8, limits)
    assert inspected.value.reason == squared.value.reason
    return inspected.value


WHOLE = {
    "JPEG": encode(Image.fromarray(NOISE), "JPEG"),
    "progressive JPEG": encode(Image.fromarray(NOISE), "JPEG", progressive=True),
    "PNG": encode(Image.fromarray(NOISE), "PNG"),
    "GIF": encode(Image.fromarray(NOISE), "GIF"),
    "BMP": encode(Image.fromarray(NOISE), "BMP"),
    "WEBP": encode(Image.fromarray(NOISE), "WEBP"),
    "TIFF": encode(Image.fromarray(NOISE), "TIFF"),
    "LZW TIFF": encode(Image.fromarray(NOISE), "TIFF", compression="tiff_lzw"),
}


@pytest.mark.parametrize("image_format", EXTENSIONS)
def test_a_file_is_known_by_its_content(image_format):
    info = inspect(WHOLE[image_format], LIMITS)
    assert (info.format, info.width, info.height) == (image_format, 40, 24)


def test_a_picture_of_several_pictures_as_phones_make_is_taken_as_a_jpeg():
    image = Image.fromarray(NOISE)
    data = encode(image, "MPO", save_all=True, append_images=[image])
    assert data.startswith(WHOLE["JPEG"][:2])
    assert EXTENSIONS.get(inspect(data, LIMITS).format) == ".jpg"


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(WHOLE)), st.floats(0, 1, exclude_max=True))
def test_a_file_that_was_cut_off_never_passes_as_another_picture(name, share):
    whole = WHOLE[name]
    cut = whole[: int(share * len(whole))]
    try:
        inspect(cut, LIMITS)
    except UnreadableImage:
        refusal(cut)
    else:  # only what follows the pixels is gone
        assert (to_square(cut, 24, LIMITS) == to_square(whole, 24, LIMITS)).all()


@pytest.mark.parametrize("name", WHOLE)
def test_half_a_file_is_refused(name):
    half = WHOLE[name][: len(WHOLE[name]) // 2]
    assert refusal(half).reason in ("damaged", "not_an_image")


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "WEBP"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
)
def test_damage_raises_nothing_but_a_refusal(name, changes):
    data = bytearray(WHOLE[name])
    for place, value in changes:
        data[int(place * len(data))] = value
    try:
        inspect(bytes(data), LIMITS)
        to_square(bytes(data), 8, LIMITS)
    except UnreadableImage as error:
        assert error.reason in ("damaged", "not_an_image", "too_many_pixels")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"not an image at all\n", id="text"),
        pytest.param(b"\0" * 4096, id="zeros"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", id="SVG"),
        pytest.param(encode(Image.new("RGB", (9, 9)), "EPS"), id="EPS"),
        pytest.param(encode(Image.new("RGB", (9, 9)), "PDF"), id="PDF"),
        pytest.param(encode(Image.new("RGB", (9, 9)), "ICO"), id="ICO"),
        pytest.param(encode(Image.new("RGB", (9, 9)), "PPM"), id="PPM"),
    ],
)
def test_only_the_formats_that_are_named_are_opened(data):
    assert refusal(data).reason == "not_an_image"


def test_the_same_bytes_are_refused_in_the_same_words_by_every_process():
    detail = refusal(b"not an image at all\n").detail
    assert "0x" not in detail, "an address in memory: the quarantine would change at every ingest"


def test_an_empty_file_is_refused():
    assert refusal(b"").reason == "empty"


def test_a_file_over_the_byte_limit_is_refused_and_one_at_it_is_not():
    data = WHOLE["PNG"]
    assert refusal(data, Limits(bytes=len(data) - 1)).reason == "too_large"
    inspect(data, Limits(bytes=len(data)))


def test_an_image_over_the_pixel_limit_is_refused_and_one_at_it_is_not():
    data = WHOLE["PNG"]
    assert refusal(data, Limits(pixels=24 * 40 - 1)).reason == "too_many_pixels"
    inspect(data, Limits(pixels=24 * 40))


@pytest.mark.parametrize("side", [50_000, 10_000, 7_072])
def test_a_bomb_is_refused_before_a_pixel_is_decoded(side):
    assert refusal(claim(side)).reason == "too_many_pixels"


def test_a_tile_is_held_whole_and_so_counts_whole():
    """A megabyte in one tile of a small picture was a gigabyte and a half in memory."""
    pixels = zlib.compress(bytes(256 * 256))
    assert inspect(tiff(100, 100, 256, pixels), LIMITS).width == 100
    assert refusal(tiff(100, 100, 40_000, pixels)).reason == "too_many_pixels"
    assert refusal(tiff(100, 100, 256, pixels), Limits(pixels=200 * 200)).reason == (
        "too_many_pixels"
    )


@pytest.mark.parametrize("scans", [91, 50_000])
def test_a_jpeg_that_is_drawn_over_and_over_is_refused(scans):
    """Ten scans are its own; a megabyte of the others kept a core busy for five minutes."""
    assert refusal(jpeg_of_scans((4000, 3000), scans)).reason == "too_many_scans"


def test_scans_of_another_picture_in_the_same_file_do_not_count():
    """A thumbnail's, a second picture's, or what a phone appends: a film."""
    inspect(jpeg_of_scans((40, 24), 90), LIMITS)
    film = encode(Image.fromarray(NOISE), "JPEG") + b"\xff\xda\0\2" * 1000
    assert inspect(film, LIMITS).width == 40
    thumbnail = WHOLE["JPEG"][:2] + b"\xff\xe2\x0f\xa2" + b"\xff\xda\0\2" * 1000
    assert inspect(thumbnail + WHOLE["JPEG"][2:], LIMITS).width == 40


def run_length_bmp(rows: int) -> bytes:
    """Return a BMP of 256 greys, one run for each pixel: 2 bytes each."""
    data = (b"\1\x80" * 100 + b"\0\0") * rows + b"\0\1"
    header = struct.pack("<IiiHHIIiiII", 40, 100, rows, 1, 8, 1, len(data), 0, 0, 256, 0)
    palette = bytes(b for grey in range(256) for b in (grey, grey, grey, 0))
    start = 14 + len(header) + len(palette)
    return struct.pack("<2sIHHI", b"BM", start + len(data), 0, 0, start) + header + palette + data


def test_a_bmp_whose_run_lengths_would_take_seconds_is_refused(monkeypatch):
    inspect(run_length_bmp(100), LIMITS)
    monkeypatch.setattr("pipeline.serving.images._MOST_RUN_LENGTHS", 10_000)
    assert refusal(run_length_bmp(100)).reason == "too_large"


def test_no_picture_makes_the_terminal_show_a_warning_of_python(tmp_path):
    (tmp_path / "bomb.png").write_bytes(claim(10_000))
    (tmp_path / "exif.jpg").write_bytes(with_exif(b"II*\0\x08\0\0\0\xff\xff\x12\x01"))
    program = (
        "import pathlib, sys\n"
        "from pipeline.serving.images import Limits, UnreadableImage, inspect\n"
        "for path in pathlib.Path(sys.argv[1]).iterdir():\n"
        "    try: inspect(path.read_bytes(), Limits())\n"
        "    except UnreadableImage: pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, cwd=ROOT
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_raised_pixel_limit_is_the_one_that_counts():
    """The claim is within the limit, so that it must fail at its missing pixels instead."""
    assert refusal(claim(13_400, bits=1), Limits(pixels=500_000_000)).reason == "damaged"


def _stored(orientation: int) -> Image.Transpose | None:
    """How a camera that writes *orientation* turns the upright picture."""
    return {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]


def _quarters(width: int, height: int) -> Image.Image:
    """Four colours, so that no turn and no mirror looks like another."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = RED
    pixels[: height // 2, width // 2 :] = (0, 255, 0)
    pixels[height // 2 :, : width // 2] = BLUE
    return Image.fromarray(pixels)


def _far(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_out_upright(image_format, orientation):
    upright = _quarters(96, 64)
    turn = _stored(orientation)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = upright if turn is None else upright.transpose(turn)
    data = encode(stored, image_format, exif=exif)
    info = inspect(data, LIMITS)
    assert (info.width, info.height) == (96, 64)
    expected = to_square(encode(upright, "PNG"), 8, LIMITS)
    assert _far(to_square(data, 8, LIMITS), expected) < 8


def test_an_orientation_that_does_not_exist_is_left_as_it_is():
    exif = Image.Exif()
    exif[ORIENTATION] = 99
    data = encode(Image.fromarray(NOISE), "PNG", exif=exif)
    assert (to_square(data, 24, LIMITS) == to_square(WHOLE["PNG"], 24, LIMITS)).all()


@pytest.mark.parametrize("payload", [b"", b"garbage", b"II*\0\x08\0\0\0\xff\xff\x12\x01"])
def test_damaged_exif_does_not_cost_the_picture(payload):
    square = to_square(with_exif(payload), 24, LIMITS)
    assert (square == to_square(WHOLE["JPEG"], 24, LIMITS)).all()


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
@pytest.mark.parametrize(("stored", "shown"), [(0, 0), (257, 1), (128 * 257, 128), (65535, 255)])
def test_16_bit_grey_is_scaled_not_clipped(image_format, stored, shown):
    image = Image.fromarray(np.full((4, 4), stored, np.uint16))
    assert colour(encode(image, image_format)) == (shown,) * 3


@pytest.mark.parametrize(
    ("stored", "shown"),
    [([0.0, 1.0], [0, 255]), ([0.5, 1.0], [128, 255]), ([0.0, 200.0], [0, 200])],
)
def test_floats_are_read_as_0_to_1_or_as_bytes(stored, shown):
    image = Image.fromarray(np.array([stored, stored], np.float32))
    square = to_square(encode(image, "TIFF"), 2, LIMITS)
    assert square[0, :, 0].tolist() == shown


def test_floats_that_are_no_numbers_are_black_and_leave_the_others_as_they_are():
    image = Image.fromarray(np.array([[np.nan, 0.5, 1.0]] * 3, np.float32))
    assert to_square(encode(image, "TIFF"), 3, LIMITS)[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize(
    ("rgba", "seen"),
    [((255, 0, 0, 255), RED), ((255, 0, 0, 0), WHITE), ((0, 0, 0, 128), (127, 127, 127))],
)
def test_transparency_is_seen_over_white(image_format, rgba, seen):
    options = {"lossless": True} if image_format == "WEBP" else {}
    assert colour(encode(Image.new("RGBA", (4, 4), rgba), image_format, **options)) == seen


def test_transparent_grey_is_seen_over_white():
    assert colour(encode(Image.new("LA", (4, 4), (0, 0)), "PNG")) == WHITE


@pytest.mark.parametrize("image_format", ["PNG", "GIF"])
@pytest.mark.parametrize(("transparent", "seen"), [(1, WHITE), (0, RED)])
def test_a_transparent_colour_of_a_palette_is_white(image_format, transparent, seen):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([*BLACK, *RED])
    data = encode(image, image_format, transparency=transparent, optimize=False)
    assert colour(data) == seen


def test_one_transparent_colour_of_a_png_without_alpha_is_white():
    assert colour(encode(Image.new("RGB", (4, 4), RED), "PNG", transparency=RED)) == WHITE


@pytest.mark.parametrize("image_format", ["JPEG", "TIFF"])
@pytest.mark.parametrize(
    ("cmyk", "seen"), [((0, 0, 0, 0), WHITE), ((0, 0, 0, 255), BLACK), ((0, 255, 255, 0), RED)]
)
def test_inks_come_out_as_light(image_format, cmyk, seen):
    data = encode(Image.new("CMYK", (8, 8), cmyk), image_format)
    assert max(abs(a - b) for a, b in zip(colour(data), seen, strict=True)) <= 3


@pytest.mark.parametrize("image_format", ["PNG", "BMP", "TIFF"])
@pytest.mark.parametrize(("bit", "seen"), [(0, BLACK), (1, WHITE)])
def test_one_bit_is_black_or_white(image_format, bit, seen):
    assert colour(encode(Image.new("1", (8, 8), bit), image_format)) == seen


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "TIFF", "WEBP"])
def test_of_an_animation_the_first_picture_counts(image_format):
    first, second = Image.new("RGB", (4, 4), RED), Image.new("RGB", (4, 4), BLUE)
    options = {"lossless": True} if image_format == "WEBP" else {}
    data = encode(first, image_format, save_all=True, append_images=[second], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 2
    assert colour(data) == RED


@pytest.mark.parametrize("mode", ["L", "I;16", "RGBA", "CMYK"])
def test_the_mode_is_told_as_it_was_stored(mode):
    assert inspect(encode(Image.new(mode, (4, 4)), "TIFF"), LIMITS).mode == mode


@pytest.mark.parametrize(("width", "height"), [(30, 10), (10, 30)])
def test_the_square_is_cut_from_the_centre(width, height):
    pixels = np.zeros((height, width, 3), np.uint8)
    left, top = (width - 10) // 2, (height - 10) // 2
    pixels[top : top + 10, left : left + 10] = RED
    assert (to_square(encode(Image.fromarray(pixels), "PNG"), 10, LIMITS) == RED).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 40))
def test_any_image_fills_the_square(width, height, size):
    square = to_square(encode(Image.new("RGB", (width, height), RED), "PNG"), size, LIMITS)
    assert square.shape == (size, size, 3)
    assert square.dtype == np.uint8
    assert (square == RED).all()


def test_a_large_jpeg_looks_the_same_as_without_the_shortcut():
    y, x = np.mgrid[0:768, 0:1024]
    waves = 128 + 100 * np.sin(x / 4) * np.cos(y / 4)
    photo = Image.fromarray(np.stack([waves, x / 4, y / 3], axis=-1).astype(np.uint8))
    jpeg, png = encode(photo, "JPEG", quality=95), encode(photo, "PNG")
    assert _far(to_square(jpeg, 160, LIMITS), to_square(png, 160, LIMITS)) < 1


def photo(width: int, height: int) -> Image.Image:
    """Waves of all colours, which compress and which no turn leaves as they are."""
    y, x = np.mgrid[0:height, 0:width]
    waves = 128 + 100 * np.sin(x / 5) * np.cos(y / 7)
    return Image.fromarray(np.stack([waves, x % 256, y % 256], axis=-1).astype(np.uint8))


def deep(mode: str) -> Image.Image:
    values = np.arange(610 * 700).reshape(700, 610)
    scale = {"I;16": (np.uint16, 65535), "I": (np.int32, 65535), "F": (np.float32, 1)}
    kind, highest = scale[mode]
    return Image.fromarray((values / values.max() * highest).astype(kind))


def in_mode(mode: str) -> tuple[Image.Image, dict[str, object]]:
    """A picture in *mode*, and what its saving must be told."""
    picture = photo(610, 700)
    if mode in ("I;16", "I", "F"):
        return deep(mode), {}
    if mode in ("LA", "RGBA"):
        alpha = picture.getchannel(1)
        picture = picture.convert(mode[:-1])
        picture.putalpha(alpha)
        return picture, {}
    if mode == "P transparent":
        return picture.quantize(16), {"transparency": 3, "optimize": False}
    return picture.quantize(16) if mode == "P" else picture.convert(mode), {}


MODES = [
    *(("PNG", mode) for mode in ("1", "L", "LA", "P", "P transparent", "RGB", "RGBA", "I;16")),
    *(("GIF", mode) for mode in ("L", "P", "P transparent")),
    *(("BMP", mode) for mode in ("1", "L", "P", "RGB")),
    *(("JPEG", mode) for mode in ("L", "RGB", "YCbCr", "CMYK")),
    *(("WEBP", mode) for mode in ("RGB", "RGBA")),
    *(
        ("TIFF", mode)
        for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F", "LAB")
    ),
]


@pytest.mark.parametrize(("image_format", "mode"), MODES)
def test_a_picture_is_the_same_whole_and_in_bands(image_format, mode, monkeypatch):
    """The bands' edges fall inside the picture, and its sides are no multiples of the factor."""
    image, options = in_mode(mode)
    data = encode(image, image_format, **options)
    whole, square = inspect(data, LIMITS), to_square(data, 20, LIMITS)
    monkeypatch.setattr(images, "_BAND", 5000)
    banded = inspect(data, LIMITS)
    assert banded == replace(whole, picture=banded.picture)
    assert banded.picture.tobytes() == whole.picture.tobytes()
    assert (to_square(data, 20, LIMITS) == square).all()
    assert banded.picture.mode == "RGB"
    assert (whole.width, whole.height) == (610, 700)
    assert square.std() > 1, "a plain picture has no bands to tell apart"


@pytest.mark.parametrize("image_format", EXTENSIONS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_has_the_pixels_that_pillow_itself_turns(image_format, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {} if image_format in ("GIF", "BMP") else {"exif": exif}
    data = encode(photo(90, 60), image_format, **options)
    with Image.open(io.BytesIO(data)) as stored:
        expected = ImageOps.exif_transpose(stored).convert("RGB")
    assert inspect(data, LIMITS).picture.tobytes() == expected.tobytes()


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(514, 513), (513, 514), (600, 30), (40, 40)])
def test_the_size_is_that_of_the_upright_picture(image_format, orientation, size):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    info = inspect(encode(Image.new("L", size), image_format, exif=exif), LIMITS)
    assert (info.width, info.height) == (size if orientation < 5 else size[::-1])


@pytest.mark.parametrize("size", [(2000, 1500), (1500, 2000), (3000, 257)])
@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_a_large_picture_is_handed_on_smaller_and_a_small_one_as_it_is(image_format, size):
    small = inspect(encode(photo(*size), image_format), LIMITS).picture
    assert 256 <= min(small.size) < 512
    assert small.width / small.height == pytest.approx(size[0] / size[1], rel=0.01)


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_a_picture_is_reduced_by_averages_and_not_by_leaving_pixels_out(image_format):
    stripes = np.zeros((1024, 1024, 3), np.uint8)
    stripes[:, ::2] = 255
    options = {"lossless": True} if image_format == "WEBP" else {}
    picture = inspect(encode(Image.fromarray(stripes), image_format, **options), LIMITS).picture
    assert _far(np.asarray(picture), np.full_like(np.asarray(picture), 128)) < 3


LARGE = {
    name: encode(photo(640, 480), name.split()[-1], **options)
    for name, options in {
        "JPEG": {},
        "progressive JPEG": {"progressive": True},
        "PNG": {},
        "GIF": {},
        "BMP": {},
        "WEBP": {},
        "TIFF": {},
        "LZW TIFF": {"compression": "tiff_lzw"},
    }.items()
}
"""So large that they are decoded scaled."""


def _is_whole(data: bytes) -> bool:
    """Whether Pillow decodes it at its full size."""
    try:
        with Image.open(io.BytesIO(data), formats=tuple(EXTENSIONS)) as image:
            image.load()
    except Exception:
        return False
    return True


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(LARGE)), st.floats(0, 1, exclude_max=True))
def test_what_a_full_decode_refuses_is_refused_when_decoded_scaled(name, share):
    cut = LARGE[name][: int(share * len(LARGE[name]))]
    if not _is_whole(cut):
        refusal(cut)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(LARGE)), st.integers(1, 60))
def test_a_file_that_lacks_its_last_bytes_is_refused_where_a_full_decode_refuses_it(name, missing):
    cut = LARGE[name][:-missing]
    if not _is_whole(cut):
        refusal(cut)


def test_a_heavy_file_waits_for_its_turn_and_a_light_one_for_nobody():
    """Whoever holds the turn may decode a large image in it."""
    passed = []

    def wait(size: int) -> threading.Thread:
        def pass_through() -> None:
            with turn_for(size):
                passed.append(size)

        thread = threading.Thread(target=pass_through)
        thread.start()
        return thread

    with turn_for(9 * 2**20):
        light, heavy = wait(1000), wait(10 * 2**20)
        light.join(10)
        to_square(encode(Image.new("RGB", (3000, 2000)), "PNG"), 8, Limits())
        assert passed == [1000]
    heavy.join(10)
    assert passed == [1000, 10 * 2**20]


@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_a_telephones_photo_is_told_what_it_is(brand):
    with pytest.raises(UnreadableImage) as caught:
        inspect(b"\x00\x00\x00\x18ftyp" + brand + bytes(100), Limits())
    assert caught.value.reason == "not_an_image"
    assert caught.value.detail.endswith("but HEIC: convert it to JPEG")
