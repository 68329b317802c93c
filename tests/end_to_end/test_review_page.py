"""The review page in a real browser: by keys alone, quiet, and what it saves can be applied."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import reviews
from pages import shown_whole
from playwright.sync_api import Browser, Page

from pipeline.inference.review import Counts
from pipeline.operations.apply_review import run as apply
from pipeline.operations.review import page as make_page
from pipeline.params import Params
from pipeline.workspace import Home

IMAGES = {f"<b>{number} & 'co.png": 20 * number + 8 for number in range(12)}
"""Six dark, six light; those in the middle are the least certain."""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return reviews.publish(tmp_path / "home", IMAGES)


@pytest.fixture
def file(home: Home, params: Params) -> Path:
    return make_page(home, params, None, Counts(4, 3, 0), lambda _: None)


@pytest.fixture
def page(browser: Browser, file: Path) -> Iterator[Page]:
    """The page, opened; it must complain of nothing and ask for nothing, to its end."""
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    opened = context.new_page()
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda request: complaints.append(request.url))
    opened.goto(file.as_uri())
    yield opened
    context.close()
    others = ("data:", "blob:", file.as_uri())
    assert [line for line in complaints if not line.startswith(others)] == []


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def text(page: Page, name: str) -> str:
    return page.locator(f"#{name}").inner_text()


def saved(page: Page, folder: Path) -> Path:
    with page.expect_download() as caught:
        press(page, "Control+s")
    folder.mkdir(exist_ok=True)
    path = folder / caught.value.suggested_filename
    caught.value.save_as(path)
    return path


@pytest.mark.parametrize(
    ("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")], ids=str
)
def test_a_browser_shows_the_whole_page_and_asks_for_nothing_else(
    browser, file, tmp_path, width, scheme
):
    shown_whole(
        browser,
        file,
        tmp_path / "review.png",
        width=width,
        scheme=scheme,
        title=file.stem,
        sections=(),
        words=("Audit: drawn blindly", "What does it show?", "of 7 decided"),
    )


def test_a_whole_review_by_keys_alone_is_saved_and_applied(home, params, page, tmp_path):
    for _ in range(4):  # the audit: what each image shows
        press(page, "1")  # dark
    press(page, "Enter", "s")
    press(page, "o", "w", "l", "Enter", "Enter")  # a class that is new, said twice
    assert text(page, "decided") == "7"
    path = saved(page, tmp_path / "downloads")

    assert path.name == f"{reviews.batch_of(home).name}.decisions.json"
    items = json.loads(path.read_text())["items"]
    assert [item["because"] for item in items] == ["audit"] * 4 + ["least_certain"] * 3
    assert {item["label"] for item in items[:4]} == {"dark"}
    assert [item["decision"] for item in items[4:]] == ["accept", "skip", "correct"]
    said: list[str] = []
    applied = apply(home, params, path, said.append)
    assert (applied.decided, applied.copied, applied.new_classes) == (6, 6, ("owl",))
    truly_dark = sum(item["predicted"] == "dark" for item in items[:4])
    assert (applied.live.right, applied.live.judged) == (truly_dark, 4)
    assert len(list((home.reviewed / "owl").iterdir())) == 1


def test_the_prediction_of_an_audited_image_is_seen_at_no_time(page):
    for _ in range(4):
        assert not page.locator("#prediction").is_visible()
        assert not page.locator("#accept").is_visible()
        order = page.locator("#classes bdi").all_inner_texts()
        assert order == ["dark", "light"]
        press(page, "Enter", "a")  # nothing to accept
        press(page, "2")
    assert page.locator("#prediction").is_visible()
    press(page, "k")
    assert text(page, "said") == "You said: light"
    assert not page.locator("#prediction").is_visible()


def test_undo_takes_the_last_decision_back_and_goes_there(page):
    press(page, "1", "1", "j", "j", "u")
    assert text(page, "decided") == "1"
    assert text(page, "place").startswith("2 of 7")
    press(page, "u", "u")
    assert text(page, "decided") == "0"


def test_decisions_survive_a_reload(page):
    press(page, "1", "2")
    page.reload()
    assert text(page, "decided") == "2"
    assert text(page, "place").startswith("3 of 7")
    press(page, "ArrowLeft")
    assert text(page, "said") == "You said: light"


def test_a_mouse_does_as_well(page):
    page.get_by_role("button", name="light", exact=False).click()
    page.get_by_role("button", name="Skip").click()
    page.locator("#strip button").nth(4).click()
    page.get_by_role("button", name="Accept").click()
    assert text(page, "decided") == "3"
    page.get_by_role("button", name="Undo").click()
    assert text(page, "decided") == "2"


def test_a_name_that_is_none_makes_no_class(page):
    page.locator("#find").fill("../etc")
    press(page, "Enter", "Enter")
    assert text(page, "decided") == "0"
    assert text(page, "said") == "Not a name for a class: ../etc"
