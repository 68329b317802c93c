"""The evaluation's page in a real browser: whole, quiet, and talking to nobody."""

import pytest
from evaluable import make_evaluable

from pipeline.evaluation import timing
from pipeline.params import Params
from pipeline.stages.evaluate import run
from pipeline.workspace import Home, Workspace

SECTIONS = (
    *("figures", "classes", "confusion", "curves"),
    *("slices", "sets", "mistakes", "suspects"),
)
CLASSES = ("<script>alert('dark')</script>", "light, but with a name that goes on and on " * 3)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory, params: Params) -> Workspace:
    """Two variants, two classes with hostile names, wrong labels; do not change it."""
    made = make_evaluable(tmp_path_factory.mktemp("evaluated"), CLASSES)
    asked = params.evaluate.model_copy(update={"slices": ("camera",)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing.sys, "executable", "/nowhere/python")  # no times are on the page
        run(made, Home(made.root), params.model_copy(update={"evaluate": asked}), lambda _: None)
    return made


@pytest.mark.parametrize(
    ("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")], ids=str
)
def test_a_browser_shows_the_whole_page_and_asks_for_nothing_else(
    evaluated, browser, tmp_path, width, scheme
):
    address = (evaluated.evaluation / "index.html").as_uri()
    complaints, requests = [], []
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    page.screenshot(path=tmp_path / "evaluation.png", full_page=True)

    asked = [url for url in requests if not url.startswith("data:")]
    assert (complaints, asked) == ([], [address])
    assert page.locator("h1").inner_text() == "greys"
    for section in SECTIONS:
        assert page.locator(f"#{section} > h2").is_visible(), section
    for said in ("fp32", "int8", "alert('dark')", "phone", "relabel_proposed.csv"):
        assert page.get_by_text(said).count(), said
    widths = page.locator("img").evaluate_all("all => all.map(one => one.naturalWidth)")
    assert len(widths) > 8
    assert min(widths) > 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()
