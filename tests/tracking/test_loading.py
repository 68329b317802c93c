"""A version is what its tags say, file by file, or nothing of it is imported."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from attacks import ATTACKS, Canary, add_code, add_python_model_pkl, ask_for, name_another_loader
from brightness import png, seal_brightness
from versions import register_brightness, stored_model

from pipeline.errors import ArtefactError, RegistryError
from pipeline.export.artefact import check_digest
from pipeline.tracking import registry
from pipeline.tracking.loading import fetch_sealed, fetch_version, open_version
from pipeline.tracking.packaging import FILES, file_tags
from pipeline.tracking.registry import Version
from pipeline.tracking.store import Store
from pipeline.workspace import Home


def kept_by(client: Store, home: Home, name: str, older: bool) -> Version:
    """A version made by the first who asks; no test changes it."""
    found = registry.versions(client, name)
    return found[0] if found else register_brightness(client, home, name, older=older)


@pytest.fixture
def registered(client: Store, home: Home) -> Version:
    return kept_by(client, home, "registered", older=False)


@pytest.fixture
def older(client: Store, home: Home) -> Version:
    return kept_by(client, home, "older", older=True)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Home:
    """A home that has no copy of any model yet."""
    return Home(tmp_path / "elsewhere")


@pytest.fixture
def stored(client: Store, registered: Version, tmp_path: Path) -> Iterator[Path]:
    """Where the registry keeps the model; put back as it was afterwards."""
    folder = stored_model(client, registered)
    kept = shutil.copytree(folder, tmp_path / "kept")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(kept, folder)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that exists once code of an attack has run."""
    return tmp_path / "canary"


# What is registered is what is loaded


def test_a_registered_version_opens_and_answers(registered, elsewhere):
    classifier = open_version(elsewhere, registered)
    assert [p.label for p in classifier.classify([png(0), png(255)])] == ["dark", "light"]


def test_a_version_that_was_fetched_once_needs_the_registry_no_more(registered, elsewhere, stored):
    open_version(elsewhere, registered)
    shutil.rmtree(stored)
    assert open_version(elsewhere, registered).classes == ("dark", "light")


def test_a_copy_that_was_swapped_after_it_was_fetched_is_fetched_anew(registered, elsewhere):
    open_version(elsewhere, registered)
    (card,) = elsewhere.private.rglob("card.json")
    shutil.rmtree(card.parent)
    seal_brightness(card.parent, classes=["light", "dark"])
    assert open_version(elsewhere, registered).classes == ("dark", "light")


def test_a_refused_artefact_is_fetched_anew_once_the_registry_is_mended(
    registered, elsewhere, stored, tmp_path
):
    """A transfer that went wrong must not stand in the way for ever."""
    (stored / "MLmodel").write_text("{")
    with pytest.raises(ArtefactError):
        open_version(elsewhere, registered)
    shutil.copy(tmp_path / "kept/MLmodel", stored)
    assert open_version(elsewhere, registered).classes == ("dark", "light")


def test_several_at_once_that_find_the_copy_damaged_all_get_a_whole_one(registered, elsewhere):
    """None takes away what another has just brought, or is at."""
    barrier = threading.Barrier(3)

    def fetch(_: int) -> None:
        for _ in range(10):
            if barrier.wait(60) == 0:
                for graph in elsewhere.private.rglob("fp32.onnx"):
                    graph.write_bytes(b"damaged")
            barrier.wait(60)
            check_digest(fetch_sealed(elsewhere, registered), registered.serving_digest)

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(fetch, range(3))) == [None] * 3


def test_a_version_that_states_no_digest_is_refused_and_not_kept(registered, elsewhere):
    """Somebody registered it by hand: nothing vouches for it."""
    with pytest.raises(RegistryError, match="not registered by Darkroom"):
        open_version(elsewhere, Version(registered.name, 1, "", {}))
    assert not list(elsewhere.private.rglob("*.onnx"))


def test_what_a_killed_fetch_left_behind_is_swept(registered, elsewhere):
    left = elsewhere.private / "models/fetching/MLmodel"
    left.parent.mkdir(parents=True)
    left.touch()
    open_version(elsewhere, registered)
    (kept,) = (elsewhere.private / "models").iterdir()
    assert kept.name != "fetching"


# Attacks on the artefact store


@pytest.mark.parametrize("load", [open_version, fetch_version])
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_model_that_was_tampered_with_is_refused_by_name_and_nothing_of_it_runs(
    registered, elsewhere, stored, canary, attack, load
):
    tamper, says = ATTACKS[attack]
    tamper(stored, canary)
    with pytest.raises(ArtefactError, match=says) as caught:
        load(elsewhere, registered)
    assert "darkroom register" in caught.value.mend
    assert not canary.exists()
    assert not list(elsewhere.private.rglob("*.onnx")), "nothing of it is kept"


@pytest.mark.full
@pytest.mark.parametrize("tamper", [add_python_model_pkl, add_code, name_another_loader])
def test_the_same_fires_where_mlflow_loads_it_by_itself(stored, canary, tamper):
    """Without this the canaries above would prove nothing."""
    tamper(stored, canary)
    command = f"import mlflow; mlflow.pyfunc.load_model({str(stored)!r})"
    pickles = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "true"}
    subprocess.run([sys.executable, "-c", command], env=os.environ | pickles, check=False)
    assert canary.exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda model: (model / "conda.yaml").unlink(), "missing: conda.yaml"),
        (lambda model: (model / "notes.txt").touch(), "added: notes.txt"),
        (lambda model: ask_for(model, loader_module="os"), "changed: MLmodel"),
        (
            lambda model: (model / "served_model.py").write_text("import os"),
            "changed: served_model.py",
        ),
    ],
)
def test_a_missing_an_added_and_a_changed_file_are_each_called_so(
    registered, elsewhere, stored, change, says
):
    change(stored)
    with pytest.raises(ArtefactError, match=says):
        open_version(elsewhere, registered)


def vouched_for(registered: Version, model: Path) -> Version:
    """As if somebody had registered the changed *model* by hand, tags and all."""
    return replace(registered, tags=registered.tags | file_tags(model))


def test_a_pickle_is_refused_even_where_the_tags_vouch_for_it(
    registered, elsewhere, stored, canary
):
    (stored / "weights.bin").write_bytes(pickle.dumps(Canary(canary)))
    with pytest.raises(ArtefactError, match=r"weights\.bin"):
        open_version(elsewhere, vouched_for(registered, stored))
    assert not canary.exists()


@pytest.mark.parametrize(
    "asked",
    [
        {"loader_module": "another"},
        {"code": "code"},
        {"data": "data"},
        {"python_model": "model.bin"},
        {"model_code_path": "other.py"},
    ],
)
def test_another_loader_is_refused_even_where_the_tags_vouch_for_it(
    registered, elsewhere, stored, asked
):
    ask_for(stored, **asked)
    with pytest.raises(ArtefactError, match=f"another loader than ours\n.*{next(iter(asked))}"):
        open_version(elsewhere, vouched_for(registered, stored))


def test_another_sealed_model_is_refused_even_where_the_file_tag_vouches_for_it(
    registered, elsewhere, stored
):
    shutil.rmtree(stored / "artifacts/serving")
    seal_brightness(stored / "artifacts/serving", classes=["light", "dark"])
    with pytest.raises(ArtefactError, match="not the one that was registered"):
        open_version(elsewhere, vouched_for(registered, stored))


@pytest.mark.parametrize("tag", ["", "{", "[]", '"MLmodel"', "{}", '{"MLmodel": 1}'])
def test_a_damaged_tag_vouches_for_nothing(registered, elsewhere, tag):
    with pytest.raises(ArtefactError):
        open_version(elsewhere, replace(registered, tags=registered.tags | {FILES: tag}))


# What an older Darkroom registered


def test_a_version_of_an_older_darkroom_runs_by_its_own_code(older, elsewhere):
    """Its code knows no variants, its answers no conformal sets, its tags no files."""
    classifier = open_version(elsewhere, older)
    answers = classifier.classify([png(0), png(255), b"no image"])
    assert [answer.label for answer in answers] == ["dark", "light", None]
    assert not hasattr(answers[0], "conformal_set")
    assert open_version(elsewhere, older, variant="fp32").variant == "fp32"


def test_a_version_of_an_older_darkroom_that_was_swapped_is_refused(
    client, older, elsewhere, canary, tmp_path
):
    folder = stored_model(client, older)
    kept = shutil.copytree(folder, tmp_path / "kept")
    ATTACKS["another valid model"][0](folder, canary)
    try:
        for load in (open_version, fetch_version):
            with pytest.raises(ArtefactError, match="not the one that was registered"):
                load(elsewhere, older)
    finally:
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
    assert not canary.exists()


def test_what_is_served_of_an_older_version_is_its_sealed_model_in_a_shell_of_our_own(
    client, older, elsewhere, canary, tmp_path
):
    """Nothing vouches for the MLmodel that it was registered with."""
    folder = stored_model(client, older)
    kept = shutil.copytree(folder, tmp_path / "kept")
    name_another_loader(folder, canary)
    try:
        model = fetch_version(elsewhere, older)
    finally:
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
    assert not (model / "code").exists()
    assert "code_model" in (model / "MLmodel").read_text()
    stated = json.loads((model / "artifacts/serving/digests.json").read_text())
    assert "fp32.onnx" in stated
