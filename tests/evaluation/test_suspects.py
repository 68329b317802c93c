"""Wrong labels are found, ranked, and proposed; nobody's own file is touched."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from pipeline.data.corrections import read_relabelled
from pipeline.evaluation.suspects import Suspect, find_suspects, write_proposals

CLASSES = ("cat", "dog", "horse, brown")


def world(n: int, seed: int):
    """Probabilities of a good model, the right labels, and names of images."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, n)
    probabilities = softmax(4 * np.eye(3)[labels] + random.normal(size=(n, 3)), 1)
    return probabilities, labels, [f"{i:064x}" for i in range(n)]


def test_planted_wrong_labels_are_found_and_put_right():
    probabilities, right, names = world(600, seed=0)
    wrong = np.random.default_rng(1).choice(600, 30, replace=False)
    given_labels = right.copy()
    given_labels[wrong] = (right[wrong] + 1) % 3
    found = find_suspects(probabilities, given_labels, names, CLASSES)
    planted = {names[i] for i in wrong}
    assert len(planted & {each.sha256 for each in found}) >= 27
    first = found[:25]
    assert sum(each.sha256 in planted for each in first) >= 24
    assert len(found) <= 40
    for each in first:
        place = names.index(each.sha256)
        assert each.given == CLASSES[given_labels[place]]
        assert each.suggested == CLASSES[right[place]] or each.sha256 not in planted


def test_where_every_image_is_likeliest_what_it_is_called_nothing_is_suspect():
    probabilities = np.array([[0.9, 0.05, 0.05], [0.5, 0.4, 0.1], [0.1, 0.8, 0.1]])
    assert find_suspects(probabilities, np.array([0, 0, 1]), ["a", "b", "c"], CLASSES) == []


def test_a_class_without_images_is_never_suggested():
    probabilities = np.array([[0.1, 0.0, 0.9], [0.4, 0.5, 0.1]])
    assert find_suspects(probabilities, np.array([0, 1]), ["a", "b"], CLASSES) == []


@given(seed=st.integers(0, 99), order=st.permutations(range(3)))
def test_classes_in_another_order_have_the_same_suspects(seed, order):
    probabilities, right, names = world(40, seed)
    labels = np.where(np.arange(40) % 5 == 0, (right + 1) % 3, right)
    plain = find_suspects(probabilities, labels, names, CLASSES)
    moved = find_suspects(
        probabilities[:, order],
        np.argsort(order)[labels],
        names,
        [CLASSES[each] for each in order],
    )
    assert moved == plain
    scores = [each.score for each in plain]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)


def test_proposed_lines_are_lines_of_relabel_csv_in_a_file_of_their_own(tmp_path):
    own = tmp_path / "relabel.csv"
    own.write_text("sha256,label,reason\n")
    suspects = [
        Suspect("0" * 64, "cat", "horse, brown", 0.9),
        Suspect("1" * 64, "dog", "cat", 0.8),
    ]
    path = write_proposals(tmp_path, suspects, 0.725)
    assert path != own
    assert own.read_text() == "sha256,label,reason\n"
    assert read_relabelled(path) == {"0" * 64: "horse, brown", "1" * 64: "cat"}
    assert path.read_text().count("contradicted by a model that is right in 72%") == 2


def test_no_suspects_are_an_empty_table(tmp_path):
    assert read_relabelled(write_proposals(tmp_path, [], 0.9)) == {}
