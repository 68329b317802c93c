"""The hostile folder as an inbox: each file ends as exactly one row, and nothing is touched."""

import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from desks import NAME, all_is_shown_once, half_written, lost_or_repeated, make_desk, put, rows
from growth import growing
from hostile import (
    IGNORED,
    TAKEN,
    Case,
    everything_in,
    nearly_fifty_megapixels,
    write_corpus,
)
from refusals import refused
from worlds import World, opened, watched

from pipeline.serving.images import Limits

ANSWERED = (TAKEN, "duplicate", "label_conflict", "no_class")
"""What ingest makes of files that are images: each of them is answered."""
IMPORTS = """
import matplotlib.pyplot
from pipeline.operations.classify import run
from pipeline.params import load_params
from pipeline.workspace import Home
"""
AT_HAND = "root = Path.cwd(); params = load_params(root / 'params.yaml')"
RUN = "run(Home(root), params, None, print)"
ORDINARY = "run(Home(Path(sys.argv[1])), params, None, print)"
CLASSIFY_ALL = growing(IMPORTS, RUN, f"{AT_HAND}; {ORDINARY}")
"""All of it, by a process that has published as many ordinary batches."""
CLASSIFY_ONE_MORE = growing(
    IMPORTS, RUN, f"{AT_HAND}; {RUN}; Path(sys.argv[1]).rename(sys.argv[2])"
)
"""One more picture than a run that has everything at hand."""


@dataclass(frozen=True)
class Classified:
    world: World
    inbox: Path
    outside: Path
    cases: list[Case]
    done: subprocess.CompletedProcess[str]
    before: dict[str, tuple[object, ...]]
    """The inbox, as `everything_in` saw it."""
    trace: Path
    """What was opened; missing where there is no strace."""

    def rows(self) -> dict[str, dict[str, object]]:
        """By the file's name below the inbox."""
        beginning = f"data/inbox/{NAME}/"
        return {row["path"].removeprefix(beginning): row for row in rows(self.world)}


def make_hostile(root: Path) -> World:
    limits = Limits()
    world = make_desk(root, limits={"bytes": limits.bytes, "pixels": limits.pixels})
    world.set(**{"inference.max_refused": 1.0})
    return world


@pytest.fixture(scope="module")
def classified(tmp_path_factory: pytest.TempPathFactory) -> Classified:
    """One run over the whole corpus; do not change it."""
    folder = tmp_path_factory.mktemp("hostile-inbox")
    world, trace = make_hostile(folder / "project"), folder / "trace"
    ordinary = make_hostile(folder / "ordinary")
    for number in range(12):
        put(ordinary, str(number), 2)
    inbox = world.home.inbox(NAME)
    outside = inbox.parent / "outside"
    cases = write_corpus(inbox, outside)
    before = everything_in(inbox)
    script = (sys.executable, "-c", CLASSIFY_ALL, str(ordinary.root))
    done = world.run(*watched(trace), *script, ok=False)
    return Classified(world, inbox, outside, cases, done, before, trace)


def test_the_corpus_is_classified_without_a_crash(classified):
    assert classified.done.returncode == 0, classified.done.stderr[-3000:]
    assert classified.done.stderr == ""


def test_every_file_ends_as_exactly_one_row(classified):
    counts = Counter(row["path"] for row in rows(classified.world))
    assert set(counts.values()) == {1}
    found, wrong = classified.rows(), {}
    for case in classified.cases:
        row = found.get(case.name)
        fate = IGNORED if row is None else row["reason"] or TAKEN
        allowed = {TAKEN if each in ANSWERED else each for each in case.fates}
        if fate not in allowed:
            wrong[case.name] = (fate, allowed)
    assert wrong == {}
    assert found.keys() - {case.name for case in classified.cases} == set()


def test_a_row_has_an_answer_and_its_size_or_a_reason_and_its_detail(classified):
    sizes = {case.name: case.size for case in classified.cases}
    for name, row in classified.rows().items():
        if row["reason"] is None:
            assert row["label"] in ("dark", "light") and row["probabilities"], name
            assert sizes[name] in (None, (row["width"], row["height"])), name
        else:
            assert row["label"] is None and row["probabilities"] is None, name
            assert row["detail"] or row["reason"] == "empty", name


def test_the_inbox_is_what_it_was(classified):
    after = everything_in(classified.inbox)
    assert {path for path in after if after[path] != classified.before.get(path)} == set()
    assert after.keys() == classified.before.keys()


def test_nothing_is_opened_that_is_no_file_of_the_inbox(classified):
    """Whatever name a link gives it: strace tells what each descriptor leads to."""
    if not classified.trace.exists():
        pytest.skip("needs strace, and the right to use it")
    found, inbox = opened(classified.trace), classified.inbox
    inside = {path for path in found if path.startswith(f"{inbox}/bytes/modes/")}
    assert len(inside) > 30, "the trace shows what is opened"
    assert {path for path in found if path.startswith(str(classified.outside))} == set()
    assert "/dev/zero" not in found
    assert {path for path in found if path.startswith(f"{inbox}/places/links/")} == {
        f"{inbox}/places/links/hard.png"
    }


def test_no_name_is_run_or_obeyed(classified):
    """`$(touch x).png`, `--help.png`."""
    assert not [path for path in (classified.world.root / "x", Path("x")) if path.exists()]
    assert "Usage" not in classified.done.stdout


def test_it_needs_300_mb_whatever_the_files_claim(classified):
    assert int(classified.done.stdout.split()[-1]) <= 300 * 2**20


def test_mlflow_shows_every_batch_of_it(classified):
    assert half_written(classified.world) == []
    assert "not shown" not in classified.done.stdout
    assert all_is_shown_once(classified.world)


def test_the_next_run_finds_nothing_new(classified, darkroom):
    before = len(rows(classified.world))
    done = darkroom(classified.world, "classify")
    assert done.returncode == 0
    assert len(rows(classified.world)) == before
    assert "images," not in done.stdout


def test_a_metadata_csv_that_cannot_be_read_keeps_only_its_own_folder_waiting(
    desk, darkroom, tmp_path
):
    world = desk.fork(tmp_path / "project")
    for folder in ("a", "b", "c"):
        put(world, folder, 3)
    wrong = world.home.inbox(NAME) / "a/metadata.csv"
    wrong.write_text("camera\nnorth\n")
    refused(darkroom(world, "classify"), str(wrong), "no column path")
    assert {Path(row["path"]).parent.name for row in rows(world)} == {"b", "c"}
    assert all_is_shown_once(world)
    wrong.unlink()
    assert darkroom(world, "classify").returncode == 0
    assert lost_or_repeated(world) == {}


@pytest.mark.full
def test_a_picture_at_the_limit_needs_600_mb(tmp_path):
    world = make_hostile(tmp_path / "project")
    inbox, picture = world.home.inbox(NAME), tmp_path / "picture"
    for number, file in enumerate(nearly_fifty_megapixels()):
        put(world, str(number), 8)
        picture.write_bytes(file.data)
        arguments = (str(picture), str(inbox / str(number) / file.name))
        done = world.run(sys.executable, "-c", CLASSIFY_ONE_MORE, *arguments)
        assert int(done.stdout.split()[-1]) <= 600 * 2**20, file.name
    counts = Counter(row["label"] is None for row in rows(world))
    assert counts == {False: 9 * 8}
