"""Who serves: aliases, and the order of the champions, in a real registry."""

import pytest

from pipeline.errors import RegistryError
from pipeline.tracking import aliases, registry
from pipeline.tracking.aliases import CHAMPIONS, PROMOTED
from pipeline.tracking.registry import CHALLENGER, CHAMPION, Version
from pipeline.tracking.store import Store


@pytest.fixture
def version(client: Store, name: str):
    """Return a function that registers a version without any artefact: enough for aliases."""

    def make(passed: bool = True) -> Version:
        if not registry.versions(client, name):
            client.create_registered_model(name)
        tags = {PROMOTED: str(passed).lower()}
        client.create_model_version(name, source="file:///nowhere", run_id=None, tags=tags)
        return registry.versions(client, name)[-1]

    return make


@pytest.fixture
def held(client: Store, name: str):
    return lambda: registry.aliases(client, name)


@pytest.fixture
def champion(client: Store, name: str):
    return lambda: registry.champion(client, name).number


def test_a_model_whose_champion_was_taken_away_is_a_registry_error(client, name, version):
    aliases.settle(client, version(), earned=True)
    client.delete_registered_model_alias(name, CHAMPION)
    with pytest.raises(RegistryError):
        registry.champion(client, name)


def test_a_promoted_version_becomes_challenger_and_champion(client, version, held):
    aliases.settle(client, version(), earned=True)
    assert held() == {CHALLENGER: 1, CHAMPION: 1}


def test_a_version_that_was_not_promoted_leaves_the_champion_alone(client, version, held):
    aliases.settle(client, version(), earned=True)
    aliases.settle(client, version(passed=False), earned=False)
    assert held() == {CHALLENGER: 2, CHAMPION: 1}


def test_what_a_person_moved_stays_where_it_was_put(client, name, version, held):
    for _ in range(2):
        aliases.settle(client, version(), earned=True)
    client.set_registered_model_alias(name, CHAMPION, "1")
    aliases.settle(client, registry.versions(client, name)[-1], earned=True)
    assert held() == {CHALLENGER: 2, CHAMPION: 1}


def test_a_version_that_a_crash_left_half_settled_is_settled_by_a_repeat(
    client, name, version, held
):
    aliases.settle(client, version(), earned=True)
    second = version()
    client.set_registered_model_alias(name, CHALLENGER, "2")  # and then the light went out
    aliases.settle(client, second, earned=True)
    assert held() == {CHALLENGER: 2, CHAMPION: 2}


# The champions, in their order


def test_each_rollback_goes_to_the_champion_before(client, name, version, champion):
    for _ in range(3):
        aliases.promote(client, version())
    assert [aliases.roll_back(client, name).number for _ in range(2)] == [2, 1]
    assert champion() == 1
    assert aliases.roll_back(client, name) is None
    assert champion() == 1


def test_a_champion_that_was_rolled_back_is_never_returned_to(client, name, version, champion):
    for _ in range(2):
        aliases.promote(client, version())
    aliases.roll_back(client, name)
    aliases.promote(client, version())
    assert aliases.roll_back(client, name).number == 1


def test_promoting_the_champion_again_changes_nothing(client, name, version):
    first, second = version(), version()
    for each in (first, second, second):
        aliases.promote(client, each)
    assert aliases.roll_back(client, name).number == 1


def test_an_old_champion_that_is_promoted_again_goes_back_to_the_one_between(client, name, version):
    first, second = version(), version()
    for each in (first, second, first):
        aliases.promote(client, each)
    assert [aliases.roll_back(client, name).number for _ in range(2)] == [2, 1]


def test_a_crash_before_the_alias_moved_leaves_the_order_true(client, name, version, champion):
    first, second, third = version(), version(), version()
    aliases.promote(client, first)
    aliases.promote(client, second)
    client.set_registered_model_tag(name, CHAMPIONS, "1 2 3")  # and then the light went out
    assert aliases.previous(client, name).number == 1
    aliases.promote(client, third)
    assert aliases.roll_back(client, name).number == 2


def test_a_champion_that_a_person_chose_in_mlflow_has_the_last_one_before_it(client, name, version):
    first, second, third = version(), version(), version()
    aliases.promote(client, first)
    client.set_registered_model_alias(name, CHAMPION, str(second.number))
    assert aliases.previous(client, name).number == 1
    aliases.promote(client, third)
    assert aliases.roll_back(client, name).number == 2


def test_a_rollback_passes_over_what_is_gone_or_never_passed(client, name, version):
    first, second, third, fourth = version(), version(), version(passed=False), version()
    for each in (first, second, third, fourth):
        aliases.promote(client, each)
    client.delete_model_version(name, str(second.number))
    assert aliases.roll_back(client, name).number == 1


@pytest.mark.parametrize("damaged", ["", "one two", "99"])
def test_an_order_that_somebody_damaged_is_no_way_back(client, name, version, damaged):
    aliases.promote(client, version())
    client.set_registered_model_tag(name, CHAMPIONS, damaged)
    assert aliases.roll_back(client, name) is None


def test_gates_that_cannot_be_read_are_none():
    for text in ("", "{", "1", "[1]", "null"):
        assert aliases.gates_of(Version("m", 1, "", {aliases.GATE: text})) == []
