"""What augmentation does to an image, against numpy's own flips, turns, moves and colours."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.training.augment import Augmentation, augment, colour_matrix, draw, warps

SIDE = 16
NOTHING = Augmentation(0.0, 0.0, 0.0, 0.0, 0.0, False, 0.0)


def how(**changes: object) -> Augmentation:
    return Augmentation(**(vars(NOTHING) | changes))


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def draws(**values: float) -> np.ndarray:
    """The numbers of one image: in the middle of every range, erasing nothing, but for these."""
    places = {
        **{"flip": 0, "angle": 1, "zoom": 2, "right": 3, "down": 4},
        **{"brightness": 5, "contrast": 6, "saturation": 7, "erase": 8, "area": 9, "ratio": 10},
        **{"top": 11, "left": 12, "which": 13, "strength": 14},
    }
    made = np.full(16, 0.5, np.float32)
    made[[places["flip"], places["erase"]]] = 0.999
    for name, value in values.items():
        made[places[name]] = value
    return made


def seen(image: np.ndarray, what: Augmentation, size: int = SIDE, **values: float) -> np.ndarray:
    numbers = draws(**values)
    (matrix,) = warps(numbers[None], what, len(image), size)
    return augment(image, matrix, numbers, what, size)


def test_in_the_middle_of_every_range_an_image_stays_as_it_is(image):
    everything = how(flip=0.5, rotation=30.0, scale=0.5, shift=0.3)
    assert np.array_equal(seen(image, everything), image)


def test_a_mirrored_image_is_numpys_flip(image):
    assert np.array_equal(seen(image, how(flip=0.5), flip=0.0), image[:, ::-1])


@pytest.mark.parametrize(("angle", "turns"), [(1.0, 1), (0.0, -1)])
def test_a_right_angle_is_numpys_rot90(image, angle, turns):
    assert np.array_equal(seen(image, how(rotation=90.0), angle=angle), np.rot90(image, turns))


def test_half_a_turn_is_two_flips(image):
    assert np.array_equal(seen(image, how(rotation=180.0), angle=1.0), image[::-1, ::-1])


def test_an_image_is_mirrored_and_turned_in_one_warp(image):
    """The order is one or the other: the turn of a mirrored image, or the mirror of a turned."""
    turned = seen(image, how(flip=0.5, rotation=90.0), flip=0.0, angle=1.0)
    either = np.rot90(image, 1)[:, ::-1], np.rot90(image[:, ::-1], 1)
    assert any(np.array_equal(turned, expected) for expected in either)


def test_a_shift_moves_both_ways_by_its_share_of_the_side(image):
    quarter = SIDE // 4
    moved = seen(image, how(shift=0.25), right=1.0)
    assert np.array_equal(moved[:, :-quarter], image[:, quarter:])
    moved = seen(image, how(shift=0.25), right=0.0)
    assert np.array_equal(moved[:, quarter:], image[:, :-quarter])
    moved = seen(image, how(shift=0.25), down=0.0)
    assert np.array_equal(moved[quarter:], image[:-quarter])


def disc(radius: float) -> np.ndarray:
    y, x = np.mgrid[:64, :64] - 31.5
    inside = np.hypot(x, y) < radius
    return np.repeat((inside * 255).astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize(("zoom", "times"), [(1.0, 1.5), (0.0, 1 / 1.5), (0.5, 1.0)])
def test_the_zoom_goes_from_smaller_to_larger_by_the_scale(zoom, times):
    grown = seen(disc(14), how(scale=0.5), 64, zoom=zoom)
    assert (grown > 127).sum() == pytest.approx((disc(14 * times) > 127).sum(), rel=0.05)


@pytest.mark.parametrize("side", [64, 80, 128])
def test_an_image_kept_larger_is_shown_as_a_whole_in_its_middle(side):
    """A disc of half the side stays one of half the side."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    kept = np.repeat(((np.hypot(x, y) < side / 4) * 255).astype(np.uint8)[..., None], 3, axis=2)
    shown = seen(kept, NOTHING, 64)
    assert (shown > 127).sum() == pytest.approx((disc(16) > 127).sum(), rel=0.05)
    assert np.abs(shown.astype(int) - shown[::-1, ::-1]).max() <= 1


@pytest.mark.parametrize("scale", [0.0, 0.25, 1.0])
def test_images_are_kept_so_large_that_the_largest_zoom_blurs_nothing(scale):
    assert how(scale=scale).source_side(128) == 128 * (1 + scale)


WHATEVER = st.builds(
    Augmentation,
    flip=st.sampled_from([0.0, 0.5, 1.0]),
    rotation=st.floats(0, 180),
    scale=st.floats(0, 1),
    shift=st.floats(0, 0.5),
    colour=st.floats(0, 0.99),
    trivial=st.booleans(),
    erasing=st.sampled_from([0.0, 0.5, 1.0]),
)


@given(what=WHATEVER, size=st.sampled_from([8, 13]), seed=st.integers(0, 2**70))
def test_whatever_is_asked_for_an_image_of_the_right_shape_comes_and_the_cached_one_stays(
    what, size, seed
):
    kept = np.random.default_rng(1).integers(0, 256, (what.source_side(size),) * 2 + (3,), np.uint8)
    before = kept.copy()
    numbers = draw(3, seed, 1)
    for row, matrix in zip(numbers, warps(numbers, what, len(kept), size), strict=True):
        out = augment(kept, matrix, row, what, size)
        assert (out.shape, out.dtype) == ((size, size, 3), np.uint8)
    assert np.array_equal(kept, before)


def test_the_numbers_follow_from_seed_epoch_and_image_alone():
    few, many = draw(5, 7, 3), draw(500, 7, 3)
    assert np.array_equal(few, many[:5])
    for other in (draw(5, 8, 3), draw(5, 7, 4)):
        assert not np.isin(few, other).any()
    assert many.min() >= 0 and many.max() < 1
    assert len(np.unique(many)) > 0.99 * many.size


def test_a_share_of_images_is_mirrored_and_a_share_erased(image):
    what, numbers = how(flip=0.3, erasing=0.2), draw(2000, 0, 1)
    matrices = warps(numbers, what, SIDE, SIDE)
    flipped = np.mean(matrices[:, 0, 0] < 0)
    plain = np.full_like(image, 7)
    pairs = zip(numbers, matrices, strict=True)
    erased = np.mean([np.any(augment(plain, m, d, what, SIDE) != 7) for d, m in pairs])
    assert flipped == pytest.approx(0.3, abs=0.04)
    assert erased == pytest.approx(0.2, abs=0.04)


def test_the_colour_matrix_is_brightness_contrast_and_saturation_one_after_the_other(image):
    """On a soft image, where no value leaves its range on the way."""
    soft = image / 4 + 64
    numbers = draws(brightness=0.9, contrast=0.2, saturation=0.8)
    brightness, contrast, saturation = 1 + 0.5 * (2 * numbers[5:8] - 1)
    expected = soft * brightness
    expected = contrast * expected + (1 - contrast) * expected.mean()
    grey = expected @ [0.299, 0.587, 0.114]
    expected = saturation * expected + (1 - saturation) * grey[..., None]
    matrix = colour_matrix(numbers, 0.5, float(soft.mean()))
    np.testing.assert_allclose(soft @ matrix[:, :3].T + matrix[:, 3], expected, rtol=1e-4)
    shown = augment(soft.astype(np.uint8), None, numbers, how(colour=0.5), SIDE)
    assert np.abs(shown - expected).max() < 2.5


def test_colours_in_the_middle_of_their_range_stay(image):
    assert np.array_equal(augment(image, None, draws(), how(colour=0.5), SIDE), image)


def test_an_erased_rectangle_has_2_to_33_percent_of_the_area_and_is_grey():
    black = np.zeros((64, 64, 3), np.uint8)
    areas, shapes = [], set()
    for row in draw(500, 0, 1):
        row[8] = 0
        shown = augment(black, None, row, how(erasing=1.0), 64)
        assert set(np.unique(shown)) == {0, 128}
        rows, columns = shown[..., 0].any(axis=1), shown[..., 0].any(axis=0)
        assert np.all(shown[np.ix_(rows, columns)] == 128), "it is one rectangle"
        areas.append(rows.sum() * columns.sum() / 64**2)
        shapes.add(rows.sum() / columns.sum() > 1)
    assert 0.015 < min(areas) < 0.05
    assert 0.28 < max(areas) < 0.35
    assert shapes == {True, False}
    assert not black.any(), "the cached image is left alone"


def of_each_operation(change: Callable[[float], dict[str, float]]) -> list[np.ndarray]:
    """What each of the fourteen makes of one image."""
    image = np.random.default_rng(0).integers(60, 200, (SIDE, SIDE, 3), np.uint8)
    return [seen(image, how(trivial=True), **change((k + 0.5) / 14)) for k in range(14)]


def test_trivial_augment_does_fourteen_different_things_one_of_them_nothing():
    made = of_each_operation(lambda which: {"which": which, "strength": 0.9})
    assert len({picture.tobytes() for picture in made}) == 14
    image = np.random.default_rng(0).integers(60, 200, (SIDE, SIDE, 3), np.uint8)
    assert np.array_equal(made[0], image)


def test_trivial_augment_gives_every_operation_its_time():
    """Each leaves its own picture of one image at one strength; all come, about as often."""
    made = {p.tobytes(): k for k, p in enumerate(
        of_each_operation(lambda which: {"which": which, "strength": 0.9})
    )}  # fmt: skip
    image = np.random.default_rng(0).integers(60, 200, (SIDE, SIDE, 3), np.uint8)
    times = np.zeros(14, int)
    for which in draw(2800, 0, 1)[:, 13]:
        shown = seen(image, how(trivial=True), which=which, strength=0.9)
        times[made[shown.tobytes()]] += 1
    assert times.min() > 140 and times.max() < 270


@pytest.mark.parametrize(
    ("what", "geometric", "none"),
    [
        ({}, False, True),
        ({"colour": 0.1}, False, False),
        ({"erasing": 0.1}, False, False),
        ({"flip": 0.1}, True, False),
        ({"rotation": 1.0}, True, False),
        ({"scale": 0.1}, True, False),
        ({"shift": 0.1}, True, False),
        ({"trivial": True}, True, False),
    ],
)
def test_it_is_known_what_needs_no_warp_and_what_needs_nothing(what, geometric, none):
    assert (how(**what).is_geometric, how(**what).is_none) == (geometric, none)
