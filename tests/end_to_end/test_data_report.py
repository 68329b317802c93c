"""The data report in a real browser: whole, quiet, and talking to nobody."""

import shutil

import pytest
from pages import shown_whole
from PIL import Image
from worlds import World, make_world, write_digits

SECTIONS = ("counts", "pictures", "left-out", "duplicates", "refused", "distributions")


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Everything that the page has a section for, hostile names above all; do not change it."""
    world = make_world(tmp_path_factory.mktemp("reported") / "project")
    source = world.root / "source"
    write_digits(source, range(300))
    world.set(**{"data.source": "source"})
    first = sorted((source / "0").iterdir())
    shutil.copy(first[0], source / "0/once more.png")
    shutil.copy(first[1], source / "1/in two classes.png")
    (source / "2/<img src=x onerror=alert(1)>.png").write_bytes(b"no image")
    (source / "3/a very long name with no end to it but this, and this, and this.png").touch()
    first[2].rename(source / "0/<script>alert('x')<script>\".png")
    for number in range(30):
        grey = Image.effect_noise((90, 60), 80).convert("RGB")
        grey.save(source / f"4/photo {number}.jpg")
        grey.resize((80, 55)).save(source / f"4/resized {number}.jpg")
    world.run("darkroom", "ingest")
    world.run("dvc", "repro", "split")
    return world


@pytest.mark.parametrize(
    ("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")], ids=str
)
def test_a_browser_shows_the_whole_report_and_asks_for_nothing_else(
    reported, browser, tmp_path, width, scheme
):
    images = shown_whole(
        browser,
        reported.workspace.data_report / "index.html",
        tmp_path / "report.png",
        width=width,
        scheme=scheme,
        title="source",
        sections=SECTIONS,
        words=("once more.png", "in two classes.png", "left out until", "photo"),
    )
    assert images > 100


def test_the_report_is_the_same_when_split_runs_again(reported):
    lock = reported.workspace.dvc_lock.read_bytes()
    reported.run("dvc", "repro", "--force", "split")
    assert reported.workspace.dvc_lock.read_bytes() == lock
