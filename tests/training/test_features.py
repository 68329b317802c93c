"""Embedding once gives the head that the slow way gives."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from trainings import (
    PLAIN,
    SIZE,
    VALIDATION,
    fresh_network,
    greys,
    make_training,
    predict,
    run,
    train_params,
)

from pipeline.errors import TrainingError
from pipeline.training import features
from pipeline.training.augment import Augmentation
from pipeline.training.models import Network
from pipeline.training.session import Training

NOTHING = Augmentation(0.0, 0.0, 0.0, 0.0, 0.0, False, 0.0)
FROZEN: dict[str, object] = {"freeze": "backbone", "epochs": 3}


def test_the_head_is_the_one_of_the_slow_way():
    slow, template = make_training(**FROZEN), make_training(**FROZEN)
    expected = run(slow)
    network = fresh_network(slow.params)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    feed = replace(template.feed, inputs=features.embed(network, greys(60)[0], batch_size=25))
    fast = Training(network, feed, template.params, "fp32")
    found = run(
        fast, validation=(features.embed(network, VALIDATION[0], batch_size=8), VALIDATION[1])
    )
    torch.testing.assert_close(network.head.weight, slow.network.head.weight, rtol=1e-4, atol=1e-6)
    assert not torch.equal(network.head.weight, before["head.weight"])
    for name, tensor in network.backbone.state_dict().items():
        assert torch.equal(tensor, before[f"backbone.{name}"]), name
    assert [r.epoch for r in found] == [r.epoch for r in expected]
    assert found[-1].validation_loss == pytest.approx(expected[-1].validation_loss, rel=1e-4)


def test_an_embedding_is_what_the_backbone_gives_a_single_image():
    network = fresh_network(train_params(**PLAIN)).eval()
    pixels = greys(7)[0]
    with torch.inference_mode():
        expected = torch.cat([network.embed(torch.from_numpy(p[None])) for p in pixels]).numpy()
    found = features.embed(network.train(), pixels, batch_size=3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


def holding(images: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Network, list[int]]:
    """A network for which memory holds so many images at once, and how many it was given."""
    network, given = fresh_network(train_params(**PLAIN)), []
    embed = network.embed

    def short(pixels: torch.Tensor) -> torch.Tensor:
        given.append(len(pixels))
        if len(pixels) > images:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return embed(pixels)

    monkeypatch.setattr(network, "embed", short)
    return network, given


def test_where_memory_is_short_fewer_images_are_embedded_at_once_and_none_is_lost(monkeypatch):
    pixels = greys(20)[0]
    network, given = holding(4, monkeypatch)
    found = features.embed(network, pixels, batch_size=16)
    assert sum(images for images in given if images <= 4) == 20
    expected = features.embed(fresh_network(train_params(**PLAIN)), pixels, batch_size=4)
    np.testing.assert_array_equal(found, expected)


def test_a_single_image_that_cannot_be_embedded_ends_it_by_name(monkeypatch):
    network, given = holding(0, monkeypatch)
    with pytest.raises(TrainingError, match="single image"):
        features.embed(network, greys(20)[0], batch_size=16)
    assert given == [16, 8, 4, 2, 1]


def test_another_failure_of_embedding_is_not_taken_for_want_of_memory():
    network = fresh_network(train_params(**PLAIN))
    with pytest.raises(RuntimeError, match="size of tensor"):
        features.embed(network, greys(20)[0][..., :2], batch_size=16)


def test_a_network_answers_embeddings_as_it_answers_their_images():
    network = fresh_network(train_params(**PLAIN, hidden=SIZE))
    embeddings = features.embed(network, VALIDATION[0], batch_size=8)
    expected = predict(network, VALIDATION[0])
    np.testing.assert_allclose(predict(network, embeddings), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "how", "fixed"),
    [
        ({"freeze": "backbone"}, {}, True),
        ({"freeze": "backbone"}, {"flip": 0.5}, False),
        ({"freeze": "backbone"}, {"colour": 0.1}, False),
        ({"freeze": "backbone"}, {"erasing": 0.1}, False),
        ({"freeze": "backbone", "mixup": 0.1}, {}, False),
        ({"freeze": "none"}, {}, False),
        ({"freeze": 3}, {}, False),
    ],
)
def test_images_are_embedded_once_only_where_they_would_come_out_the_same(changes, how, fixed):
    assert features.are_fixed(train_params(**changes), replace(NOTHING, **how)) is fixed
