"""The figures of a picture: the same for the same picture, alike for alike ones."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from pipeline.data.appearance import appearance


def photo(seed: int = 0) -> Image.Image:
    """Soft patches of light, as a photo has them."""
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(noise).resize((120, 90), Image.Resampling.BICUBIC)


def apart(one: Image.Image, other: Image.Image) -> int:
    hashes = [int(appearance(each).phash or "", 16) for each in (one, other)]
    return (hashes[0] ^ hashes[1]).bit_count()


def test_the_hash_is_16_hexadecimal_digits_and_the_same_every_time():
    first, second = appearance(photo()), appearance(photo())
    assert first == second
    assert len(first.phash) == 16
    int(first.phash, 16)


@pytest.mark.parametrize(
    "alter",
    [
        lambda image: image.resize((240, 180)),
        lambda image: image.point(lambda value: value * 0.9),
        lambda image: image.convert("L").convert("RGB"),
    ],
    ids=["larger", "darker", "grey"],
)
def test_an_altered_copy_is_near_and_another_picture_far(alter):
    assert apart(photo(), alter(photo())) <= 4
    assert apart(photo(), photo(1)) > 15


@pytest.mark.parametrize(("size", "is_hashed"), [((32, 32), True), ((31, 99), False)])
def test_a_picture_under_32_pixels_has_no_hash(size, is_hashed):
    assert (appearance(photo().resize(size)).phash is not None) is is_hashed


@pytest.mark.parametrize(("shade", "brightness"), [(0, 0), (51, 0.2), (255, 1)])
def test_brightness_goes_from_black_to_white(shade, brightness):
    assert appearance(Image.new("RGB", (9, 9), (shade,) * 3)).brightness == brightness


def test_a_blurred_picture_is_less_sharp_and_a_plain_one_not_at_all():
    blurred = appearance(photo().filter(ImageFilter.GaussianBlur(3)))
    assert 0 < blurred.sharpness < appearance(photo()).sharpness
    assert appearance(Image.new("RGB", (9, 9), (7, 7, 7))).sharpness == 0


def test_sharpness_is_the_variance_of_the_laplacian():
    dot = Image.new("RGB", (5, 5))
    dot.putpixel((2, 2), (10, 10, 10))
    laplacian = [0, 10, 0, 10, -40, 10, 0, 10, 0]
    assert appearance(dot).sharpness == round(float(np.var(laplacian)), 2)


@pytest.mark.parametrize("size", [(1, 1), (2, 50), (50, 2)])
def test_a_picture_too_small_for_a_laplacian_has_no_sharpness(size):
    assert appearance(Image.new("RGB", size, (255, 0, 255))).sharpness == 0
