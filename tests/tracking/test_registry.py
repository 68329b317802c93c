"""Versions and aliases in a real registry: who serves, and that it is what was registered."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from brightness import png, seal_brightness

from pipeline.errors import ArtefactError, RegistryError
from pipeline.tracking import registry
from pipeline.tracking.registry import CHALLENGER, CHAMPION, Version
from pipeline.tracking.store import Store, experiment_id
from pipeline.workspace import Home

MODEL = "registered"


@pytest.fixture
def registered(client: Store, home: Home, tmp_path: Path) -> Version:
    """A whole version, artefact and all, made by the first who asks; no test changes it."""
    if found := registry.versions(client, MODEL):
        return found[0]
    digest = seal_brightness(tmp_path / "serving")
    experiment = experiment_id(client, home, MODEL)
    run_id = client.create_run(experiment).info.run_id
    tags = {"darkroom.serving_digest": digest, "test_use": "1"}
    model_id = registry.upload(client, experiment, run_id, MODEL, tmp_path / "serving")
    return registry.create_version(client, run_id, model_id, MODEL, tags, {"test.accuracy": 0.75})


@pytest.fixture
def elsewhere(tmp_path: Path) -> Home:
    """A home that has no copy of any model yet."""
    return Home(tmp_path / "elsewhere")


@pytest.fixture
def stored(client: Store, registered: Version, tmp_path: Path) -> Iterator[Path]:
    """Where the registry keeps the artefact; put back as it was afterwards."""
    uri = client.get_model_version_download_uri(MODEL, str(registered.number))
    folder = Path(uri.removeprefix("file://")) / "artifacts/serving"
    kept = shutil.copytree(folder, tmp_path / "kept")
    yield folder
    shutil.rmtree(folder)
    shutil.copytree(kept, folder)


def version(client: Store, name: str) -> Version:
    """Register a version of *name* without any artefact: enough for aliases."""
    if not registry.versions(client, name):
        client.create_registered_model(name)
    client.create_model_version(name, source="file:///nowhere", run_id=None)
    return registry.versions(client, name)[-1]


def aliases(client: Store, name: str) -> dict[str, int]:
    held = client.get_registered_model(name).aliases
    return {alias: int(number) for alias, number in held.items()}


# What is registered, and whether it is still that


def test_a_registered_version_keeps_its_tags_and_figures(client, registered):
    (found,) = registry.versions(client, MODEL)
    assert found == registered
    assert found.tags["test_use"] == "1"
    run_id = client.get_model_version(MODEL, "1").run_id
    assert client.get_run(run_id).data.metrics == {"test.accuracy": 0.75}
    assert aliases(client, MODEL) == {}, "no alias points to it before it is settled"


def test_a_registered_version_opens_and_answers(registered, elsewhere):
    classifier = registry.open_version(elsewhere, registered)
    assert [p.label for p in classifier.classify([png(0), png(255)])] == ["dark", "light"]


def test_a_version_of_before_there_were_variants_opens_whatever_may_choose(
    registered, elsewhere, tmp_path
):
    """It has one graph, no self-test and no thresholds."""
    memory = tmp_path / "memory"
    classifier = registry.open_version(elsewhere, registered, variant="auto", memory=memory)
    assert classifier.variant == "fp32"
    (answer,) = classifier.classify([png(255)])
    assert (answer.label, answer.conformal_set, answer.abstain_reason) == ("light", None, None)
    with pytest.raises(ArtefactError, match="no variant int8") as caught:
        registry.open_version(elsewhere, registered, variant="int8")
    assert "serving.variant" in caught.value.mend


def test_a_version_that_was_fetched_once_needs_the_registry_no_more(registered, elsewhere, stored):
    registry.open_version(elsewhere, registered)
    shutil.rmtree(stored)
    stored.mkdir()
    assert registry.open_version(elsewhere, registered).classes == ("dark", "light")


def test_a_model_that_was_swapped_is_refused_before_anything_is_imported(
    registered, elsewhere, stored, tmp_path
):
    """It is whole, and its digests agree: only the version's tag can tell."""
    shutil.rmtree(stored)
    seal_brightness(stored, code=f"Path({str(tmp_path / 'imported')!r}).touch()")
    with pytest.raises(ArtefactError, match="not the one that was registered"):
        registry.open_version(elsewhere, registered)
    assert not (tmp_path / "imported").exists()


def test_an_artefact_with_a_changed_byte_is_refused(registered, elsewhere, stored):
    with (stored / "fp32.onnx").open("ab") as out:
        out.write(b"\0")
    with pytest.raises(ArtefactError, match=r"fp32\.onnx"):
        registry.open_version(elsewhere, registered)


def test_a_copy_that_was_swapped_after_it_was_fetched_is_fetched_anew(registered, elsewhere):
    registry.open_version(elsewhere, registered)
    (card,) = elsewhere.private.rglob("card.json")
    shutil.rmtree(card.parent)
    seal_brightness(card.parent, classes=["light", "dark"])
    assert registry.open_version(elsewhere, registered).classes == ("dark", "light")


def test_a_refused_artefact_is_fetched_anew_once_the_registry_is_mended(
    registered, elsewhere, stored, tmp_path
):
    """A transfer that went wrong must not stand in the way for ever."""
    (stored / "card.json").write_text("{")
    with pytest.raises(ArtefactError):
        registry.open_version(elsewhere, registered)
    shutil.copy(tmp_path / "kept/card.json", stored)
    assert registry.open_version(elsewhere, registered).classes == ("dark", "light")


def test_a_version_that_states_no_digest_is_refused_and_not_kept(registered, elsewhere):
    """Somebody registered it by hand: nothing vouches for it."""
    with pytest.raises(RegistryError, match="not registered by Darkroom"):
        registry.open_version(elsewhere, Version(MODEL, registered.number, "", {}))
    assert not list(elsewhere.private.rglob("*.onnx"))


# Who serves


def test_a_name_that_nobody_registered_has_no_champion(client, name):
    assert registry.versions(client, name) == []
    assert registry.by_alias(client, name, CHAMPION) is None
    with pytest.raises(RegistryError, match=f"{name} has no champion") as caught:
        registry.champion(client, name)
    assert "darkroom" in caught.value.mend


def test_a_model_whose_champion_was_taken_away_is_a_registry_error(client, name):
    registry.settle(client, version(client, name), promoted=True)
    client.delete_registered_model_alias(name, CHAMPION)
    with pytest.raises(RegistryError):
        registry.champion(client, name)


def test_versions_are_in_the_order_of_their_numbers(client, name):
    for _ in range(11):
        version(client, name)
    assert [v.number for v in registry.versions(client, name)] == list(range(1, 12))


def test_a_promoted_version_becomes_challenger_and_champion(client, name):
    first = version(client, name)
    registry.settle(client, first, promoted=True)
    assert aliases(client, name) == {CHALLENGER: 1, CHAMPION: 1}
    assert registry.champion(client, name).number == 1


def test_a_version_that_was_not_promoted_leaves_the_champion_alone(client, name):
    registry.settle(client, version(client, name), promoted=True)
    registry.settle(client, version(client, name), promoted=False)
    assert aliases(client, name) == {CHALLENGER: 2, CHAMPION: 1}


def test_what_a_person_moved_stays_where_it_was_put(client, name):
    for _ in range(2):
        registry.settle(client, version(client, name), promoted=True)
    client.set_registered_model_alias(name, CHAMPION, "1")
    registry.settle(client, registry.versions(client, name)[-1], promoted=True)
    assert aliases(client, name) == {CHALLENGER: 2, CHAMPION: 1}


def test_a_version_that_a_crash_left_half_settled_is_settled_by_a_repeat(client, name):
    registry.settle(client, version(client, name), promoted=True)
    second = version(client, name)
    client.set_registered_model_alias(name, CHALLENGER, "2")  # and then the light went out
    registry.settle(client, second, promoted=True)
    assert aliases(client, name) == {CHALLENGER: 2, CHAMPION: 2}
