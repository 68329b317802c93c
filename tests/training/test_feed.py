"""What the network is fed: each image once, augmented by (seed, epoch, image), and nothing lost."""

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch
from trainings import train_params

from pipeline.training.augment import Augmentation
from pipeline.training.feed import Feed, augmentation_of, smallest_batch
from pipeline.training.on_device import augment_batch

COUNT, SIZE = 23, 8
NOTHING = Augmentation(0.0, 0.0, 0.0, 0.0, 0.0, False, 0.0)
MUCH = Augmentation(0.5, 20.0, 0.25, 0.1, 0.2, True, 0.5)


def make_feed(how: Augmentation = NOTHING, **changes: object) -> Feed:
    """Every image has a label of its own, so that it is known again."""
    side = how.source_side(SIZE)
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, side, side, 3), np.uint8)
    feed = Feed(pixels, np.arange(COUNT), SIZE, how, 5, 0, "none", torch.device("cpu"))
    return replace(feed, **changes)


def shown(feed: Feed, epoch: int = 1, first: int = 0) -> dict[int, bytes]:
    """What is seen of each image, by its label."""
    return {
        int(label): pixels.numpy().tobytes()
        for batch in feed.batches(epoch, first)
        for pixels, label in zip(batch.inputs, batch.labels, strict=True)
    }


def labels(feed: Feed, epoch: int = 1, first: int = 0) -> list[list[int]]:
    return [batch.labels.tolist() for batch in feed.batches(epoch, first)]


def flat(lists: Iterable[list[int]]) -> list[int]:
    return list(chain.from_iterable(lists))


@pytest.mark.parametrize(("size", "steps"), [(1, 23), (5, 5), (8, 3), (22, 2), (23, 1), (100, 1)])
def test_an_epoch_is_every_image_once_in_batches_of_nearly_equal_size(size, steps):
    feed = make_feed(batch_size=size)
    batches = labels(feed)
    sizes = [len(batch) for batch in batches]
    assert feed.steps == len(batches) == steps
    assert max(sizes) - min(sizes) <= 1 and max(sizes) <= size
    assert sorted(flat(batches)) == list(range(COUNT))


def test_order_follows_from_seed_and_epoch():
    assert labels(make_feed()) == labels(make_feed())
    assert labels(make_feed()) != labels(make_feed(), epoch=2)
    assert labels(make_feed()) != labels(make_feed(seed=1))


@pytest.mark.parametrize("how", [NOTHING, MUCH], ids=["plain", "augmented"])
def test_an_image_looks_the_same_whatever_batch_it_comes_in(how):
    """Of another order, too: sampling draws another one."""
    expected = shown(make_feed(how))
    assert shown(make_feed(how, batch_size=3)) == expected
    sampled = shown(make_feed(how, balance="sampling"))
    assert sampled.items() <= expected.items()
    halves = [shown(make_feed(how, rank=rank, world_size=2)) for rank in (0, 1)]
    assert halves[0] | halves[1] == expected


def test_where_memory_is_short_on_the_device_images_are_augmented_fewer_at_a_time(monkeypatch):
    feed = make_feed(replace(MUCH, trivial=False))
    feed = replace(feed, resident=torch.from_numpy(feed.inputs))
    expected, made = shown(feed), []

    def short(pixels: torch.Tensor, *others: object) -> torch.Tensor:
        if len(pixels) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        made.append(len(pixels))
        return augment_batch(pixels, *others)

    monkeypatch.setattr("pipeline.training.feed.augment_batch", short)
    assert shown(feed) == expected
    assert sum(made) == COUNT


def test_an_image_looks_different_in_another_epoch_and_from_another_seed():
    """TrivialAugment may leave an image alone now and then."""
    first = shown(make_feed(MUCH))
    for other in (shown(make_feed(MUCH), epoch=2), shown(make_feed(MUCH, seed=1))):
        assert sum(first[label] != other[label] for label in first) > COUNT - 3


def test_without_augmentation_the_pixels_are_those_of_the_cache():
    feed = make_feed()
    assert shown(feed) == {n: feed.inputs[n].tobytes() for n in range(COUNT)}


@pytest.mark.parametrize("first", range(6))
@pytest.mark.parametrize("balance", ["none", "sampling"])
def test_going_on_at_a_batch_gives_the_same_batches(first, balance):
    feed = make_feed(MUCH, balance=balance)
    whole, rest = list(feed.batches(3)), list(feed.batches(3, first))
    assert len(rest) == 5 - first
    for expected, batch in zip(whole[first:], rest, strict=True):
        assert torch.equal(batch.labels, expected.labels)
        assert torch.equal(batch.inputs, expected.inputs)


def test_processes_share_out_every_batch_and_none_sees_what_another_sees():
    whole = labels(make_feed())
    ranks = [labels(make_feed(rank=rank, world_size=3)) for rank in range(3)]
    for expected, *parts in zip(whole, *ranks, strict=True):
        assert sorted(flat(parts)) == sorted(expected)


@pytest.mark.parametrize("processes", range(1, 12))
def test_the_smallest_batch_size_gives_each_process_two_images_and_a_smaller_one_does_not(
    processes,
):
    def fewest(batch_size: int) -> int:
        feed = make_feed(batch_size=batch_size, world_size=processes)
        ranks = [labels(replace(feed, rank=rank)) for rank in range(processes)]
        return min(len(batch) for batches in ranks for batch in batches)

    least = smallest_batch(COUNT, processes)
    assert [fewest(size) >= 2 for size in range(1, COUNT + 5)] == [
        size >= least for size in range(1, COUNT + 5)
    ]


def test_no_batch_size_gives_two_images_where_there_are_fewer_than_two_for_each_process():
    assert smallest_batch(COUNT, 12) == 0


def test_sampling_shows_every_class_as_often_as_the_others():
    rare = np.array([0] * 900 + [1] * 90 + [2] * 10)
    pixels = np.zeros((1000, 2, 2, 3), np.uint8)
    feed = make_feed(inputs=pixels, size=2, labels=rare, balance="sampling", batch_size=1000)
    times = Counter(flat(flat(labels(feed, epoch)) for epoch in range(1, 11)))
    assert sum(times.values()) == 10_000
    for label in range(3):
        assert times[label] == pytest.approx(10_000 / 3, rel=0.06)


def test_embeddings_are_fed_as_they_are():
    embeddings = np.random.default_rng(0).random((COUNT, 7), np.float32)
    feed = make_feed(inputs=embeddings)
    for batch in feed.batches(1):
        assert np.array_equal(batch.inputs.numpy(), embeddings[batch.labels.numpy()])
    assert sorted(flat(labels(feed))) == list(range(COUNT))


class Damaged(np.ndarray):
    """Pixels that cannot be had any more, from the tenth image asked for on."""

    asked = 0

    def __getitem__(self, place):
        Damaged.asked += 1
        if Damaged.asked > 10:
            raise OSError("Input/output error")
        return super().__getitem__(place)


def feeders() -> int:
    return sum(thread.name.startswith("ahead") for thread in threading.enumerate())


def test_what_fails_in_the_background_fails_where_the_batch_is_wanted():
    Damaged.asked = 0
    feed = make_feed(how=replace(NOTHING, colour=0.1))
    feed = replace(feed, inputs=feed.inputs.view(Damaged))
    got: list[int] = []

    def consume(batches: Iterator) -> None:
        got.extend(len(batch.labels) for batch in batches)

    with pytest.raises(OSError, match="Input/output"):
        consume(feed.batches(1))
    assert got == [5, 5]
    assert feeders() == 0


@pytest.mark.parametrize("taken", [0, 1, 3, 5])
def test_a_feed_that_is_closed_early_leaves_no_thread(taken):
    batches = make_feed(MUCH).batches(1)
    for _ in range(taken):
        next(batches)
    batches.close()
    assert feeders() == 0


def test_params_say_what_is_done_and_auto_mirrors_where_a_mirrored_image_shows_the_same():
    params = train_params(flip="auto", rotation=5.0, scale=0.3, shift=0.1, colour=0.4, erasing=0.2)
    expected = Augmentation(0.5, 5.0, 0.3, 0.1, 0.4, False, 0.2)
    assert augmentation_of(params, flips=True) == expected
    assert augmentation_of(params, flips=False) == replace(expected, flip=0.0)
    for flips in (True, False):
        assert augmentation_of(train_params(flip=0.25), flips).flip == 0.25
    assert augmentation_of(train_params(trivial=True), True).trivial
