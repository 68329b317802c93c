"""What a person sees in MLflow's own pages, by a real `darkroom ui` and a real browser."""

import json
import socket
import urllib.request
from collections.abc import Iterator

import pytest
from mlflow import MlflowClient
from playwright.sync_api import Page
from processes import start, wait_until
from worlds import World, write_digits

_MILLISECONDS = 60_000


@pytest.fixture(scope="module")
def world(rival, tmp_path_factory) -> World:
    """A copy: to look on is to write as well, in SQLite."""
    return rival.fork(tmp_path_factory.mktemp("ui") / "project")


@pytest.fixture(scope="module")
def address(world) -> Iterator[str]:
    """Where `darkroom ui` answers."""
    log = world.root.parent / "log"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = start(world, log, "pipeline.cli", "ui", "--port", str(port))
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert server.poll() is None, log.read_text()[-2000:]
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as got:
                return bool(got.status == 200)
        except OSError:
            return False

    try:
        wait_until(answers, log)
        yield url
    finally:
        server.terminate()
        server.wait(60)


@pytest.fixture(scope="module")
def runs(rival) -> list[str]:
    """The runs of the two trainings, the older first."""
    uri = f"sqlite:///{rival.home.mlflow_database}"
    client = MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name("source")
    found = client.search_runs([experiment.experiment_id], order_by=["start_time ASC"])
    return [run.info.run_id for run in found]


@pytest.fixture
def page(browser, tmp_path) -> Iterator[Page]:
    """A window; what it showed last is kept as a picture."""
    opened = browser.new_page(viewport={"width": 1600, "height": 1000})
    opened.set_default_timeout(_MILLISECONDS)
    yield opened
    opened.screenshot(path=tmp_path / "last.png")
    opened.close()


def at(address: str, place: str) -> str:
    """MLflow opens in its view for language models unless the address asks for the other."""
    return f"{address}/#/{place}{'&' if '?' in place else '?'}workflowType=machine_learning"


def test_the_run_table_has_a_row_for_each_training_with_its_data_and_its_model(page, address, runs):
    page.goto(at(address, "experiments/1/runs"))
    for run in runs:
        row = page.locator("[role=row]", has=page.locator(f'a[href*="{run}"]')).first
        row.wait_for()
    assert page.get_by_text("2 matching runs").is_visible()
    assert page.get_by_text("source (").count() == 2  # the dataset, with its digest


def test_the_compare_view_shows_two_runs_side_by_side(page, address, runs):
    place = f"compare-runs?runs={json.dumps(runs)}&experiments={json.dumps(['1'])}"
    page.goto(at(address, place))
    page.get_by_text("Comparing 2 Runs from 1 Experiment").wait_for()
    for run in runs:
        assert page.get_by_role("link", name=run).is_visible()
    for parameter in ("data.source", "train.learning_rate"):
        row = page.locator("tr, [role=row]", has_text=parameter).first
        cells = row.inner_text().split()
        assert cells[0] == parameter and cells[1] == cells[2]
    assert page.get_by_text("export.int8.accuracy", exact=True).count()


def test_the_models_table_has_both_with_what_the_test_images_said(page, address):
    page.set_viewport_size({"width": 5000, "height": 1000})  # columns out of sight are not drawn
    page.goto(at(address, "experiments/1/models"))
    page.get_by_role("columnheader", name="test.accuracy", exact=True).wait_for()
    cells = page.locator('[role=gridcell][col-id*="test.accuracy&"]')
    cells.nth(1).wait_for()
    assert all(float(said) > 0.9 for said in cells.all_inner_texts())
    headers = page.get_by_role("columnheader").all_inner_texts()
    first = headers.index("test.images")
    assert headers[first : first + 3] == ["test.images", "test.accuracy", "test.accuracy_low"]


def test_a_registered_version_has_its_aliases_and_its_card(page, address):
    page.goto(at(address, "models/source"))
    page.get_by_role("link", name="Version 2").wait_for()
    page.get_by_text("@ champion").first.wait_for()
    page.get_by_text("@ challenger").first.wait_for()
    page.goto(at(address, "models/source/versions/2"))
    page.get_by_role("heading", name="Figures on the test images").wait_for()
    assert page.get_by_text("promoted; not worse: the same answers").first.is_visible()
    assert page.get_by_role("cell", name="worst_class_recall", exact=True).count()


def test_the_pictures_of_the_evaluation_are_shown(page, address, runs):
    page.goto(at(address, f"experiments/1/runs/{runs[1]}/artifacts/evaluation/roc.png"))
    picture = page.locator('img[src^="blob:"], img[src*="roc.png"]').first
    picture.wait_for()
    assert picture.evaluate("one => one.naturalWidth") > 300
    page.get_by_text("index.html").click()
    frame = page.frame_locator("iframe").first
    frame.get_by_role("heading", name="source").first.wait_for()


@pytest.mark.full
def test_drift_is_drawn_as_a_line_over_batches_and_a_batch_leads_to_its_version(
    page, address, world
):
    for number, day in enumerate(("monday", "tuesday")):
        inbox = world.home.inbox("source") / day
        write_digits(inbox, range(600 + 40 * number, 640 + 40 * number), by_class=False)
        (inbox / "_READY").touch()
    world.run("darkroom", "classify")
    uri = f"sqlite:///{world.home.mlflow_database}"
    client = MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name("source-inference").experiment_id
    found = {run.info.run_name: run for run in client.search_runs([experiment])}
    run_id = found["all-batches"].info.run_id
    page.goto(at(address, f"experiments/{experiment}/runs/{run_id}/model-metrics"))
    page.get_by_placeholder("Search metric charts").fill("drift.alarm")
    page.get_by_text("drift.alarm", exact=True).first.wait_for()
    points = page.locator(".scatterlayer .point")
    points.nth(2).wait_for()
    assert points.count() == 3
    (monday,) = (run.info.run_id for name, run in found.items() if name.startswith("monday"))
    page.goto("about:blank")  # MLflow's address differs from the last one after its # alone
    page.goto(at(address, f"experiments/{experiment}/runs/{monday}"))
    link = page.get_by_role("link", name="source version 2")
    assert link.get_attribute("href") == "#/models/source/versions/2"
    page.goto("about:blank")
    place = "artifacts/monitoring/_least_certain.jpg"
    page.goto(at(address, f"experiments/{experiment}/runs/{monday}/{place}"))
    sheet = page.locator('img[src^="blob:"], img[src*="least_certain"]').first
    sheet.wait_for()
    assert sheet.evaluate("one => one.naturalWidth") > 600
