"""The review page in a real browser: by keys alone, quiet, and what it saves can be applied."""

import json
from collections.abc import Callable, Iterator
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
def page_of(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open pages; they must complain of nothing and ask for nothing, to their end."""
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 800})

    def opened(file: Path, before: str = "") -> Page:
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda request: complaints.append(request.url))
        page.add_init_script(before)
        page.goto(file.as_uri())
        return page

    yield opened
    context.close()
    assert [line for line in complaints if not line.startswith(("data:", "blob:", "file:"))] == []


@pytest.fixture
def page(page_of: Callable[..., Page], file: Path) -> Page:
    return page_of(file)


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


@pytest.fixture
def odd(tmp_path: Path, params: Params) -> Path:
    """The page of a model whose classes have odd names."""
    names = ("</script><script>alert(1)</script>", "7")
    home = reviews.publish(tmp_path / "home", IMAGES, names)
    return make_page(home, params, None, Counts(0, 3, 0), lambda _: None)


def test_names_of_classes_are_words_and_a_class_called_7_has_the_key_7(page_of, odd, tmp_path):
    page = page_of(odd)
    press(page, "7", "1")
    page.locator("#find").fill("</SCRIPT")
    press(page, "Enter")
    items = json.loads(saved(page, tmp_path / "downloads").read_text())["items"]
    assert [item["label"] for item in items] == ["7", *["</script><script>alert(1)</script>"] * 2]


def test_a_browser_that_keeps_nothing_says_so_and_saves_all_the_same(page_of, file, tmp_path):
    page = page_of(file, "delete window.localStorage; delete Window.prototype.localStorage;")
    press(page, "1")
    assert "save before you close it" in text(page, "notice")
    assert len(json.loads(saved(page, tmp_path / "downloads").read_text())["items"]) == 1
