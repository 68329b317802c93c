"""The evaluation's page in a real browser: whole, quiet, and talking to nobody."""

import pytest
from evaluable import make_evaluable
from pages import shown_whole

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
    images = shown_whole(
        browser,
        evaluated.evaluation / "index.html",
        tmp_path / "evaluation.png",
        width=width,
        scheme=scheme,
        title="greys",
        sections=SECTIONS,
        words=("fp32", "int8", "alert('dark')", "phone", "relabel_proposed.csv"),
    )
    assert images > 8
