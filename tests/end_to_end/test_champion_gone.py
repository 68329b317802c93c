"""A champion that is moved, deleted or tampered with: a run is of one version from its first row to
its last, and where there is none that can be trusted nothing begins."""

import random
import shutil
from pathlib import Path

import pytest
from attacks import ATTACKS
from classifies import held_up
from desks import NAME, all_is_shown_once, lost_or_repeated, put, rows, store_of
from refusals import refused
from versions import register_brightness, stored_model
from worlds import World

from pipeline.tracking import aliases, registry
from pipeline.tracking.registry import Version
from pipeline.tracking.store import connect

IMAGES = 3
FOLDERS = ("monday", "tuesday")


@pytest.fixture
def world(desk: World, darkroom, tmp_path: Path) -> World:
    """A desk whose first batch is classified, by the champion that it fetched."""
    made = desk.fork(tmp_path / "project")
    put(made, "first", IMAGES)
    assert darkroom(made, "classify").returncode == 0
    return made


def files_of(desk: World) -> dict[str, bytes]:
    """Every file of predictions/."""
    found = (path for path in desk.home.predictions.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in found}


def nothing_begins(desk: World, darkroom, *words: str) -> None:
    before = files_of(desk)
    put(desk, "second", IMAGES)
    refused(darkroom(desk, "classify"), *words)
    assert files_of(desk) == before


# Moved or deleted while a run is at work


def promote_another(desk: World) -> None:
    client = connect(desk.home, {})
    aliases.promote(client, register_brightness(client, desk.home, NAME, edition="second"))


def test_a_champion_that_may_be_guessing_is_named_beside_what_it_answered(world, darkroom):
    client = store_of(world)
    put(world, "sure", IMAGES)
    assert "BEWARE" not in darkroom(world, "classify").stdout
    client.set_model_version_tag(NAME, "1", "darkroom.verdict", "BEWARE: not surely better")
    put(world, "unsure", IMAGES)
    done = darkroom(world, "classify")
    assert "BEWARE: version 1 may be guessing; darkroom models says why" in done.stdout
    assert "BEWARE" not in darkroom(world, "classify").stdout, "nothing new was answered"


def delete_the_alias(desk: World) -> None:
    store_of(desk).delete_registered_model_alias(NAME, "champion")


def delete_the_version(desk: World) -> None:
    store_of(desk).delete_model_version(NAME, "1")


def delete_the_model(desk: World) -> None:
    store_of(desk).delete_registered_model(NAME)


@pytest.mark.parametrize(
    "change", [promote_another, pytest.param(delete_the_version, marks=pytest.mark.full)]
)
def test_what_becomes_of_the_champion_during_a_run_changes_no_row_of_it(
    world, processes, darkroom, tmp_path, change
):
    """The run waits before its second folder."""
    for folder in FOLDERS:
        put(world, folder, IMAGES)
    first = registry.champion(connect(world.home, {}), NAME)
    reached, go, output = processes.Event(), processes.Event(), tmp_path / "held"
    arguments = (world.root, output, {}, "folder:2", reached, go)
    run = processes.Process(target=held_up, args=arguments)
    run.start()
    assert reached.wait(120), output.read_text()
    change(world)
    go.set()
    run.join(120)
    assert run.exitcode == 0, output.read_text()
    assert lost_or_repeated(world) == {}
    assert all_is_shown_once(world)
    assert answered_by(world) == {(1, first.serving_digest): 3 * IMAGES}
    if change is promote_another:
        second = registry.champion(connect(world.home, {}), NAME)
        put(world, "wednesday", IMAGES)
        assert darkroom(world, "classify").returncode == 0
        assert answered_by(world) == {
            (1, first.serving_digest): 3 * IMAGES,
            (2, second.serving_digest): IMAGES,
        }


def answered_by(desk: World) -> dict[tuple[int, str], int]:
    """(version, serving digest) → rows."""
    found: dict[tuple[int, str], int] = {}
    for row in rows(desk):
        by = (row["model_version"], row["serving_digest"])
        found[by] = found.get(by, 0) + 1
    return found


# Deleted


@pytest.mark.parametrize("delete", [delete_the_alias, delete_the_version, delete_the_model])
def test_without_a_champion_nothing_begins(world, darkroom, delete):
    delete(world)
    nothing_begins(world, darkroom, f"model {NAME} has no champion yet")


def test_without_its_files_nothing_begins(world, darkroom):
    shutil.rmtree(stored(world))
    shutil.rmtree(world.home.private / "models")
    nothing_begins(world, darkroom, "is not what was registered", "missing: MLmodel")


# Tampered with


def champion(desk: World) -> Version:
    return registry.champion(connect(desk.home, {}), NAME)


def stored(desk: World) -> Path:
    """Where the registry keeps the champion."""
    return stored_model(store_of(desk), champion(desk))


def fetched(desk: World) -> Path:
    """Where the desk keeps its copy."""
    (folder,) = (each.parent for each in (desk.home.private / "models").glob("*/MLmodel"))
    return folder


def flip_a_byte(model: Path, dice: random.Random) -> str:
    """Change one bit of one file; return which."""
    files = [path for path in model.rglob("*") if path.is_file() and path.stat().st_size]
    file = dice.choice(sorted(files))
    data = bytearray(file.read_bytes())
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    file.write_bytes(data)
    return file.relative_to(model).as_posix()


def test_a_bit_that_flips_in_the_registry_stops_the_run_before_anything_is_loaded(
    world, darkroom, full, tmp_path
):
    whole = shutil.copytree(stored(world), tmp_path / "whole")
    for seed in range(20 if full else 3):
        file = flip_a_byte(stored(world), random.Random(seed))
        shutil.rmtree(world.home.private / "models")
        nothing_begins(world, darkroom, f"{NAME} version 1 is not what was registered", file)
        assert not list(world.home.private.rglob("*.onnx"))
        shutil.rmtree(stored(world))
        shutil.copytree(whole, stored(world))
    assert darkroom(world, "classify").returncode == 0
    assert lost_or_repeated(world) == {}


def test_a_bit_that_flips_in_the_fetched_copy_has_it_fetched_again(world, darkroom, full):
    digest = champion(world).serving_digest
    for seed in range(20 if full else 2):
        flip_a_byte(fetched(world), random.Random(seed))
        put(world, f"round-{seed}", IMAGES)
        assert darkroom(world, "classify").returncode == 0
    assert lost_or_repeated(world) == {}
    assert set(answered_by(world)) == {(1, digest)}


@pytest.mark.parametrize("attack", ["another valid model", "MLmodel's loader"])
def test_code_that_was_put_into_both_is_not_run(world, darkroom, tmp_path, attack):
    tamper, says = ATTACKS[attack]
    canary = tmp_path / "canary"
    for model in (stored(world), fetched(world)):
        tamper(model, canary)
    nothing_begins(world, darkroom, says.split("\\")[0])
    assert not canary.exists()
