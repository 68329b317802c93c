"""What is said of the test images is true of the weights that a training started from, too; and
what is known of their terms."""

import json

import pytest

from pipeline.evaluation.start import Contamination, is_published, licence, seen, told

IMAGENET = "torchvision ResNet18_Weights.IMAGENET1K_V1"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Contamination(), "images that nothing else looked at"),
        (Contamination(("version 1 of a",)), "images that nothing else looked at"),
        (
            Contamination(("version 1 of a",), images=7),
            "images, 7 of which its starting weights know",
        ),
        (
            Contamination(("version 1 of a",), IMAGENET, 7),
            "images, at least 7 of which its starting weights know",
        ),
        (
            Contamination(first="mine.safetensors"),
            "images that its own training did not look at (its starting weights may have)",
        ),
    ],
)
def test_only_test_images_that_no_start_knows_are_said_to_be_unseen(found, said):
    assert seen(json.loads(json.dumps(found.as_tag()))) == said


def test_nothing_is_promised_of_a_version_of_an_older_darkroom():
    assert seen(Contamination().as_tag(), False) == "images that no training looked at"
    assert "may have" in seen(None)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Contamination(), []),
        (
            Contamination(("version 1 of a",)),
            ["No test image is among those that the weights that it started from (version 1 of a)"],
        ),
        (
            Contamination(("version 2 of b", "version 1 of a"), images=7),
            ["7 of the test images are among those that the weights that it started from ("],
        ),
        (
            Contamination(("version 1 of a",), IMAGENET),
            [
                "No test image is among",
                "The weights that the first of these started from (torchvision",
            ],
        ),
        (
            Contamination(first="mine.safetensors"),
            ["The weights that it started from (mine.safetensors) may have seen test images"],
        ),
    ],
)
def test_each_sentence_says_of_whom_it_is(found, said):
    for sentence, start in zip(told(found), said, strict=True):
        assert sentence.startswith(start)


@pytest.mark.parametrize(
    ("start", "data"),
    [
        (IMAGENET, "trained on ImageNet:"),
        ("timm resnet18.a1_in1k", "trained on ImageNet:"),
        ("timm vit_base_patch16_clip_224.openai", "trained on images that are not known here:"),
    ],
)
def test_published_weights_are_told_by_the_images_that_their_name_tells(start, data):
    (sentence,) = told(Contamination(first=start))
    assert data in sentence and "how many are cannot be known here" in sentence


def test_a_file_that_is_called_like_a_librarys_weights_is_a_file():
    assert is_published("timm resnet18.a1_in1k") and not is_published("timm mine.safetensors")


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ("none", "from scratch"),
        ("torchvision X", "no licence"),
        ("timm resnet", "huggingface"),
        ("mine.safetensors", "not known"),
        ("timm mine.safetensors", "not known"),
    ],
)
def test_what_is_known_of_a_licence(start, said):
    assert said in licence(start)
