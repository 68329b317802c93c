"""The served model's interface, with the smallest graph that has an answer: the mean colour."""

import io
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from pipeline.serving.classifier import Classifier

CLASSES = ("red", "green", "blue")


def encode(rgb: tuple[int, int, int], side: int = 8) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side), rgb).save(out, "PNG")
    return out.getvalue()


RED, GREEN, BLUE = encode((255, 0, 0)), encode((0, 255, 0)), encode((0, 0, 255))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """Three classes, 4 pixels a side; an image over 100 pixels is refused."""
    folder: Path = tmp_path_factory.mktemp("serving")
    write_model(folder)
    return Classifier(folder)


def write_model(folder: Path) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["floats"], ["mean"], axes=[1, 2], keepdims=0),
            helper.make_node("Mul", ["mean", "scale"], ["embedding"]),
            helper.make_node("Softmax", ["embedding"], ["probabilities"], axis=1),
        ],
        "mean colour",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", 4, 4, 3])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3])
            for name in ("probabilities", "embedding")
        ],
        [helper.make_tensor("scale", TensorProto.FLOAT, [1], [1 / 64])],
    )
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "fp32.onnx")
    card = {"classes": CLASSES, "image_size": 4, "limits": {"bytes": 10_000, "pixels": 100}}
    (folder / "card.json").write_text(json.dumps(card))


def test_the_label_is_the_class_of_the_highest_probability(classifier):
    assert classifier.classes == CLASSES
    for prediction, label in zip(classifier.classify([RED, GREEN, BLUE]), CLASSES, strict=True):
        assert prediction.label == label
        assert prediction.probabilities is not None
        assert prediction.confidence == max(prediction.probabilities)
        assert prediction.probabilities.index(prediction.confidence) == CLASSES.index(label)
        assert sum(prediction.probabilities) == pytest.approx(1, abs=1e-6)


def test_a_refused_image_leaves_the_others_their_answers(classifier):
    answers = classifier.classify([RED, b"", GREEN, b"text", BLUE])
    assert [answer.label for answer in answers] == ["red", None, "green", None, "blue"]
    assert [answer.reason for answer in answers] == [None, "empty", None, "not_an_image", None]
    refused = answers[1]
    assert refused.confidence is refused.probabilities is None
    assert refused.detail


def test_where_every_image_is_refused_every_one_is_answered(classifier):
    assert [answer.reason for answer in classifier.classify([b"", b""])] == ["empty", "empty"]


def test_nothing_asked_is_nothing_answered(classifier):
    assert classifier.classify([]) == []


def test_an_image_is_answered_the_same_in_any_company(classifier):
    colours = np.random.default_rng(0).integers(0, 256, (20, 3))
    images = [encode(tuple(map(int, rgb))) for rgb in colours]
    together = classifier.classify(images)
    alone = [classifier.classify([image])[0] for image in images]
    assert together == alone == classifier.answer(images)


def test_the_limits_that_were_sealed_hold(classifier):
    assert classifier.classify([encode((255, 0, 0), side=11)])[0].reason == "too_many_pixels"
    assert classifier.classify([RED + b"\0" * 10_000])[0].reason == "too_large"


def test_a_model_without_thresholds_answers_and_promises_nothing(classifier):
    (answer,) = classifier.classify([RED])
    assert answer.label == "red"
    assert answer.conformal_set is answer.class_conditional_set is None
    assert answer.ood_score is answer.abstain_reason is None


def test_a_model_with_thresholds_says_when_its_answer_is_not_to_be_relied_on(tmp_path):
    """It knows red and green images; a set holds the classes of a quarter or more."""
    write_model(tmp_path)
    thresholds = {"coverage": 0.9, "overall": 0.75, "per_class": [0.75, 0.75, None]}
    neighbours = {"neighbours": 1, "distance": 0.5}
    (tmp_path / "thresholds.json").write_text(json.dumps(thresholds | neighbours))
    np.save(tmp_path / "embeddings.npy", np.eye(3, dtype=np.float16)[:2])
    grey = encode((90, 90, 90))
    red, refused, blue, mixed = Classifier(tmp_path).classify([RED, b"", BLUE, grey])
    assert (red.conformal_set, red.abstain_reason) == (("red",), None)
    assert red.class_conditional_set == ("red", "blue")
    assert (refused.conformal_set, refused.abstain_reason) == (None, None)
    assert (blue.label, blue.abstain_reason) == ("blue", "out_of_distribution")
    assert blue.ood_score == pytest.approx(2**0.5)
    assert mixed.conformal_set == CLASSES
    assert mixed.abstain_reason == "out_of_distribution"  # however many classes are possible
