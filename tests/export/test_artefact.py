"""The seal: what was changed is refused before any of it runs; every model runs its own code."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from brightness import png, seal_brightness

from pipeline.errors import ArtefactError
from pipeline.export.artefact import open_artefact, serving_digest


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
