"""Versions and aliases in a real registry: what is registered, and who serves."""

import pytest
from versions import register_brightness

from pipeline.errors import RegistryError
from pipeline.tracking import registry
from pipeline.tracking.registry import CHALLENGER, CHAMPION, Version
from pipeline.tracking.store import Store


def version(client: Store, name: str) -> Version:
    """Register a version of *name* without any artefact: enough for aliases."""
    if not registry.versions(client, name):
        client.create_registered_model(name)
    client.create_model_version(name, source="file:///nowhere", run_id=None)
    return registry.versions(client, name)[-1]


def aliases(client: Store, name: str) -> dict[str, int]:
    held = client.get_registered_model(name).aliases
    return {alias: int(number) for alias, number in held.items()}


# What is registered


def test_a_registered_version_keeps_its_tags_and_figures(client, home, name):
    registered = register_brightness(client, home, name)
    (found,) = registry.versions(client, name)
    assert found == registered
    assert found.tags["test_use"] == "1"
    run_id = client.get_model_version(name, "1").run_id
    assert client.get_run(run_id).data.metrics == {"test.accuracy": 0.75}
    assert aliases(client, name) == {}, "no alias points to it before it is settled"


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
