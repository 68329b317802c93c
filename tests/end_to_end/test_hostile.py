"""A folder of hostile files: each ends as exactly one thing, and nothing else is touched."""

import csv
import hashlib
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from growth import PICTURE, PICTURE_IMPORTS, growing
from hostile import (
    IGNORED,
    TAKEN,
    Case,
    everything_in,
    nearly_fifty_megapixels,
    write_corpus,
)
from worlds import World, make_world, opened, watched

in_linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
IMPORTS = (
    PICTURE_IMPORTS
    + """
from pipeline.operations.ingest import run
from pipeline.params import load_params
from pipeline.workspace import Home, Workspace
"""
)
AT_HAND = "root = Path.cwd(); params = load_params(root / 'params.yaml')"
MEMORY_OF_INGEST = growing(IMPORTS, "run(Workspace(root), Home(root), params, print)", AT_HAND)
MEMORY_OF_PICTURE = growing(IMPORTS, PICTURE, AT_HAND)


@dataclass(frozen=True)
class Ingested:
    world: World
    source: Path
    outside: Path
    cases: list[Case]
    done: subprocess.CompletedProcess[str]
    before: dict[str, tuple[object, ...]]
    """The source, as `everything_in` saw it."""
    trace: Path
    """What was opened; missing where there is no strace."""

    def catalogue(self) -> list[dict[str, object]]:
        return pq.read_table(self.world.workspace.catalogue).to_pylist()

    def quarantine(self) -> list[dict[str, str]]:
        with self.world.workspace.quarantine.open(newline="", encoding="utf-8") as lines:
            return list(csv.DictReader(lines))


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    """One ingest over the whole corpus; do not change it."""
    folder = tmp_path_factory.mktemp("hostile")
    source, outside, trace = folder / "source", folder / "outside", folder / "trace"
    cases = write_corpus(source, outside)
    before = everything_in(source)
    world = make_hostile(folder / "project", source)
    ingest = [sys.executable, "-m", "pipeline.cli", "ingest"]
    done = world.run(*watched(trace), *ingest, ok=False)
    return Ingested(world, source, outside, cases, done, before, trace)


def make_hostile(root: Path, source: Path) -> World:
    world = make_world(root)
    world.set(**{"data.source": str(source), "data.max_refused": 1.0, "data.min_per_class": 1})
    return world


def test_the_corpus_is_taken_in_without_a_crash(ingested):
    assert len(ingested.cases) >= 150
    assert ingested.done.returncode == 0, ingested.done.stderr[-3000:]
    assert ingested.done.stderr == ""


def test_every_entry_ends_as_exactly_one_thing(ingested):
    taken = Counter(str(row["path"]) for row in ingested.catalogue())
    copies = Counter(path for row in ingested.catalogue() for path in row["copies"] or ())
    refused = Counter(line["path"] for line in ingested.quarantine())
    reasons = {line["path"]: line["reason"] for line in ingested.quarantine()}
    wrong = {}
    for case in ingested.cases:
        fate = reasons.get(case.name) or (TAKEN if case.name in taken else IGNORED)
        counts = (taken[case.name], copies[case.name], refused[case.name])
        allowed = {
            TAKEN: [(1, 0, 0)],
            IGNORED: [(0, 0, 0)],
            "duplicate": [(0, 1, 1)],
            "label_conflict": [(1, 0, 1), (0, 1, 1)],
        }.get(fate, [(0, 0, 1)])
        if fate not in case.fates or counts not in allowed:
            wrong[case.name] = (fate, counts, case.fates)
    assert wrong == {}
    names = {case.name for case in ingested.cases}
    assert {*taken, *copies, *refused} - names == set()


def test_what_is_taken_has_the_size_of_the_upright_picture(ingested):
    sizes = {row["path"]: (row["width"], row["height"]) for row in ingested.catalogue()}
    known = {case.name: case.size for case in ingested.cases if case.size}
    assert len(known) > 100
    assert {name: sizes.get(name) for name in known} == known


def test_an_image_in_two_classes_has_none(ingested):
    labels = {row["path"]: row["label"] for row in ingested.catalogue()}
    assert labels["bytes/twin.png"] is None
    assert set(labels.values()) == {None, "bytes", "places"}


def test_the_snapshot_holds_each_image_of_the_catalogue_and_nothing_else(ingested):
    images = ingested.world.workspace.images
    held = {
        path.relative_to(images).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in images.rglob("*")
        if not path.is_dir()
    }
    assert held == {row["file"]: row["sha256"] for row in ingested.catalogue()}


def test_the_source_is_byte_for_byte_what_it_was(ingested):
    after = everything_in(ingested.source)
    assert {path for path in after if after[path] != ingested.before.get(path)} == set()
    assert after.keys() == ingested.before.keys()


def test_nothing_is_opened_that_is_no_file_of_the_source(ingested):
    """Whatever name a link gives it: strace tells what each descriptor leads to."""
    if not ingested.trace.exists():
        pytest.skip("needs strace, and the right to use it")
    found = opened(ingested.trace)
    inside = {path for path in found if path.startswith(f"{ingested.source}/bytes/modes/")}
    assert len(inside) > 30, "the trace shows what is opened"
    assert {path for path in found if path.startswith(str(ingested.outside))} == set()
    assert "/dev/zero" not in found
    assert {path for path in found if path.startswith(f"{ingested.source}/places/links/")} == {
        f"{ingested.source}/places/links/hard.png"
    }
    assert {path for path in found if path.startswith(f"{ingested.source}/places/no files/")} <= {
        f"{ingested.source}/places/no files/sparse.png"
    }


def test_no_name_is_run_or_obeyed(ingested):
    """`$(touch x).png`, `--help.png`."""
    assert not [path for path in (ingested.world.root / "x", Path("x")) if path.exists()]
    assert "Usage" not in ingested.done.stdout


def test_the_next_ingest_finds_nothing_new(ingested):
    before = ingested.world.workspace.dataset_dvc.read_bytes()
    ingested.world.run("darkroom", "ingest")  # may read again what was written just now
    assert ", 0 files read" in ingested.world.run("darkroom", "ingest").stdout
    assert ingested.world.workspace.dataset_dvc.read_bytes() == before


def test_what_may_not_be_read_is_set_aside_by_name(ingested):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    reasons = {line["path"]: line["reason"] for line in ingested.quarantine()}
    assert reasons["places/forbidden/file.png"] == "unreadable"
    assert reasons["places/forbidden/folder"] == "unreadable"


@in_linux
def test_an_ingest_needs_300_mb_whatever_the_files_claim(ingested, tmp_path):
    world = make_hostile(tmp_path / "project", ingested.source)
    grown = int(world.run(sys.executable, "-c", MEMORY_OF_INGEST).stdout.split()[-1])
    assert grown <= 300 * 2**20


@in_linux
@pytest.mark.full
def test_a_picture_at_the_limit_needs_600_mb(world, tmp_path):
    for file in nearly_fifty_megapixels():
        (tmp_path / "picture").write_bytes(file.data)
        picture = str(tmp_path / "picture")
        grown = int(world.run(sys.executable, "-c", MEMORY_OF_PICTURE, picture).stdout)
        assert grown <= 600 * 2**20, file.name
