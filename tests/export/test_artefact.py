"""The seal: what was changed is refused before any of it runs; every model runs its own code."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from brightness import CARD, graph, png, seal_brightness

from pipeline.errors import ArtefactError
from pipeline.export.artefact import open_artefact, seal, serving_digest
from pipeline.serving.choice import SelfTest


def package(folder: Path) -> Path:
    (found,) = (folder / "code").iterdir()
    return found


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that exists once the code of `sealed` was imported."""
    return tmp_path / "imported"


@pytest.fixture
def sealed(tmp_path: Path, canary: Path) -> Path:
    folder = tmp_path / "sealed"
    seal_brightness(folder, code=f"Path({str(canary)!r}).touch()")
    return folder


def add_cached_bytecode(folder: Path) -> None:
    cache = package(folder) / "serving/__pycache__"
    cache.mkdir()
    (cache / f"classifier.{sys.implementation.cache_tag}.pyc").write_bytes(b"anything")


def change(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


CHANGES: dict[str, Callable[[Path], None]] = {
    "a byte of the network": lambda folder: change(folder / "fp32.onnx", -1),
    "a byte of the card": lambda folder: change(folder / "card.json", 20),
    "a byte of the code": lambda folder: change(package(folder) / "serving/classifier.py", 5),
    "a byte of the digests": lambda folder: change(folder / "digests.json", 40),
    "a missing card": lambda folder: (folder / "card.json").unlink(),
    "a missing module": lambda folder: (package(folder) / "serving/engine.py").unlink(),
    "missing digests": lambda folder: (folder / "digests.json").unlink(),
    "an added file": lambda folder: (folder / "notes.txt").write_text("hello"),
    "an added module": lambda folder: (folder / "code/numpy.py").write_text("import os"),
    "cached bytecode": add_cached_bytecode,
    "a renamed file": lambda folder: (folder / "card.json").rename(folder / "Card.json"),
    "no files at all": lambda folder: [shutil.rmtree(folder), folder.mkdir()],
}


@pytest.mark.parametrize("how", CHANGES)
def test_what_is_not_as_it_was_sealed_is_refused_before_anything_is_imported(sealed, canary, how):
    CHANGES[how](sealed)
    with pytest.raises(ArtefactError, match="not what it was when it was sealed"):
        open_artefact(sealed)
    assert not canary.exists()


def test_an_added_link_to_a_folder_is_refused_before_anything_is_imported(sealed, canary, tmp_path):
    """The folder behind it can hold any code, and changes without a trace in the artefact."""
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(package(sealed), elsewhere)
    (sealed / "code/darkroom_served_0000000000000000").symlink_to(elsewhere)
    with pytest.raises(ArtefactError, match="not what it was when it was sealed"):
        open_artefact(sealed)
    assert not canary.exists()


@pytest.mark.parametrize(
    "text", ["", "[1]", "null", '"card.json"', '{"card.json": 1}', '{"card.json": ["a"]}', "\udcff"]
)
def test_damaged_digests_are_an_artefact_error_whatever_they_hold(sealed, text):
    (sealed / "digests.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ArtefactError, match="not what it was when it was sealed"):
        serving_digest(sealed)


def test_the_error_names_what_was_changed(sealed):
    change(sealed / "fp32.onnx", -1)
    with pytest.raises(ArtefactError, match=r"fp32\.onnx") as caught:
        open_artefact(sealed)
    assert "card.json" not in str(caught.value)


def test_a_whole_model_that_is_not_the_registered_one_is_refused_before_it_is_imported(
    sealed, canary, tmp_path
):
    registered = seal_brightness(tmp_path / "registered")
    with pytest.raises(ArtefactError, match="not the one that was registered"):
        open_artefact(sealed, registered)
    assert not canary.exists()


def test_what_is_as_it_was_sealed_is_imported_and_answers(sealed, canary):
    """Without this the canaries above would prove nothing."""
    classifier = open_artefact(sealed, serving_digest(sealed))
    assert canary.exists()
    assert classifier.classes == ("dark", "light")
    assert [p.label for p in classifier.classify([png(0), png(255)])] == ["dark", "light"]


def test_equal_content_has_an_equal_digest_in_any_folder(tmp_path):
    first = seal_brightness(tmp_path / "first")
    assert seal_brightness(tmp_path / "some/where/else") == first
    assert serving_digest(shutil.copytree(tmp_path / "first", tmp_path / "copy")) == first


def test_any_other_content_has_another_digest(tmp_path):
    digests = {
        seal_brightness(tmp_path / "plain"),
        seal_brightness(tmp_path / "card", classes=["dark", "lighT"]),
        seal_brightness(tmp_path / "code", code="# a comment"),
    }
    assert len(digests) == 3


def test_two_models_in_one_process_each_run_their_own_code(tmp_path):
    for name in ("older", "newer"):
        answer = f"Classifier.classify = lambda self, images: [{name!r}] * len(images)"
        seal_brightness(tmp_path / name, code=answer)
    older, newer = open_artefact(tmp_path / "older"), open_artefact(tmp_path / "newer")
    assert older.classify([b""]) == ["older"]
    assert newer.classify([b""]) == ["newer"]
    assert older.classify([b""]) == ["older"]


def test_importing_leaves_no_bytecode_behind_and_the_interpreter_as_it_was(sealed, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path, before = list(sys.path), sorted(sealed.rglob("*"))
    open_artefact(sealed)
    assert sorted(sealed.rglob("*")) == before
    assert (sys.dont_write_bytecode, sys.path) == (False, path)


def test_an_unknown_interface_is_refused(tmp_path):
    seal_brightness(tmp_path / "future", code="INTERFACE = 999")
    with pytest.raises(ArtefactError, match="interface 999") as caught:
        open_artefact(tmp_path / "future")
    assert "update Darkroom" in caught.value.mend


def test_code_that_needs_a_library_that_is_missing_here_is_a_few_lines(tmp_path):
    seal_brightness(tmp_path / "sealed", code="import a_library_of_later")
    with pytest.raises(ArtefactError, match="cannot be imported here") as caught:
        open_artefact(tmp_path / "sealed")
    assert "a_library_of_later" in str(caught.value)


def seal_two(folder: Path, wrong: bool = False) -> None:
    """Seal one graph as two variants; no answer of int8 is near enough if *wrong*."""
    pixels = np.arange(256, dtype=np.uint8).reshape(-1, 1, 1, 1) * np.ones((1, 8, 8, 3), np.uint8)
    light = 1 / (1 + np.exp(0.04 * (127.5 - np.arange(256))))
    expected = np.stack([1 - light, light], 1).astype(np.float32)
    bounds = {"fp32": 1.0, "int8": -1.0 if wrong else 0.01}
    seal(folder, graph(), CARD, int8=graph(), self_test=SelfTest(pixels, expected, bounds))


@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_the_variant_that_was_asked_for_runs(tmp_path, variant):
    seal_two(tmp_path)
    classifier = open_artefact(tmp_path, variant=variant)
    assert classifier.variant == variant
    assert [p.label for p in classifier.classify([png(0), png(255)])] == ["dark", "light"]


def test_a_variant_that_fails_its_self_test_here_is_not_the_one_that_runs(tmp_path):
    seal_two(tmp_path, wrong=True)
    assert open_artefact(tmp_path).variant == "fp32"


def test_a_variant_that_cannot_run_here_is_an_error_of_ours_and_not_of_the_models_code(tmp_path):
    seal_two(tmp_path, wrong=True)
    with pytest.raises(ArtefactError, match="does not answer here") as caught:
        open_artefact(tmp_path, variant="int8")
    assert "int8: it disagrees by" in caught.value.where[0]
    assert "serving.variant" in caught.value.mend


def test_the_self_test_is_sealed_and_the_same_content_has_the_same_digest(tmp_path):
    for name in ("one", "other"):
        seal_two(tmp_path / name)
    assert serving_digest(tmp_path / "one") == serving_digest(tmp_path / "other")
    change(tmp_path / "one/selftest.npz", 200)
    with pytest.raises(ArtefactError, match=r"selftest\.npz"):
        open_artefact(tmp_path / "one")


def test_a_model_from_before_there_were_variants_still_runs(tmp_path):
    older = (
        "_Classifier = Classifier\n\n\nclass Classifier(_Classifier):\n"
        "    def __init__(self, folder):\n        super().__init__(folder)"
    )
    seal_brightness(tmp_path / "older", code=older)
    assert open_artefact(tmp_path / "older", memory=tmp_path / "memory").variant == "fp32"
    assert open_artefact(tmp_path / "older", variant="fp32").variant == "fp32"
    with pytest.raises(ArtefactError, match="no variant int8"):
        open_artefact(tmp_path / "older", variant="int8")
