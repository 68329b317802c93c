"""The contact sheet shows what training shows the network, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.training.augment import Augmentation, Pixels
from pipeline.training.feed import Feed
from pipeline.training.sheet import EPOCHS, choose_images, sheet

SIZE = 96
"""At which tiles are neither magnified nor made smaller."""
HOW = Augmentation(
    flip=0.5, rotation=10, scale=0.25, shift=0.1, colour=0.2, trivial=True, erasing=0.3
)
NOTHING = Augmentation(0, 0, 0, 0, 0, False, 0)


def photos(count: int, side: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)


def tile(page: Pixels, row: int, column: int, side: int = SIZE) -> Pixels:
    top, left = 4 + row * (side + 4), 4 + column * (side + 4) + (4 if column else 0)
    return page[top : top + side, left : left + side]


def test_a_tile_is_what_the_feed_gives_the_network_in_that_epoch():
    images, labels, seed = photos(12, HOW.source_side(SIZE)), np.arange(12) % 3, 5
    places = choose_images(labels)
    page = sheet(images[places], places, len(images), HOW, SIZE, seed)
    feed = Feed(images, labels, SIZE, HOW, 12, seed, "none", torch.device("cpu"))
    for epoch in range(1, EPOCHS + 1):
        (batch,) = feed.batches(epoch)
        (order,) = feed._order(epoch)
        for row, place in enumerate(places):
            seen = batch.inputs[order.tolist().index(place)].numpy()
            assert np.array_equal(tile(page, row, epoch), seen)


def test_another_seed_is_another_sheet_and_the_same_seed_the_same():
    images = photos(8, HOW.source_side(SIZE))
    first, again, other = (sheet(images, range(8), 8, HOW, SIZE, seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_without_augmentation_every_column_is_the_original():
    images = photos(3, SIZE)
    page = sheet(images, range(3), 3, NOTHING, SIZE, 0)
    for row, image in enumerate(images):
        for column in range(EPOCHS + 1):
            assert np.array_equal(tile(page, row, column), image)


@pytest.mark.parametrize(("size", "side"), [(8, 96), (33, 99), (128, 128), (512, 192)])
def test_tiles_are_large_enough_to_be_looked_at_and_small_enough_to_be_kept(size, side):
    how = replace(HOW, trivial=False)
    page = sheet(photos(2, how.source_side(size)), range(2), 2, how, size, 0)
    assert page.shape == (2 * (side + 4) + 4, 7 * (side + 4) + 8, 3)


def test_a_magnified_picture_shows_its_pixels():
    images = photos(1, 8)
    page = sheet(images, [0], 1, NOTHING, 8, 0)
    assert np.array_equal(tile(page, 0, 0)[::12, ::12], images[0])


def test_images_of_all_classes_are_shown_in_turn():
    labels = np.array([2, 2, 2, 0, 0, 1, 2, 0])
    assert labels[choose_images(labels)].tolist() == [0, 1, 2, 0, 2, 0, 2, 2]
    assert len(choose_images(np.zeros(3, np.int64))) == 3
