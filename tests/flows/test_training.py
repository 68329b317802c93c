"""The flow only shows what the files hold."""

from types import SimpleNamespace

import pytest

from flows import training
from pipeline.workspace import Workspace


@pytest.fixture
def project(tmp_path, monkeypatch):
    workspace = Workspace(tmp_path)
    workspace.data_report.mkdir(parents=True)
    (workspace.data_report / "summary.md").write_text("## photos: 3 images\n")
    lines = []
    monkeypatch.setattr(training, "log_line", lines.append)
    return SimpleNamespace(workspace=workspace, lines=lines)


def test_the_flow_shows_the_counts_and_where_the_data_report_lies(project, monkeypatch):
    made = {}
    monkeypatch.setattr(training, "create_markdown_artifact", lambda **shown: made.update(shown))
    training._show_data(project)
    assert made["key"] == "data-report"
    assert made["markdown"].startswith("## photos: 3 images\n")
    assert (project.workspace.data_report / "index.html").as_uri() in made["markdown"]
    assert project.lines == []


@pytest.mark.parametrize("fault", ["Prefect", "no summary"])
def test_training_goes_on_where_the_data_report_cannot_be_shown(project, monkeypatch, fault):
    def refuse(**shown):
        raise ConnectionError("no server")

    monkeypatch.setattr(training, "create_markdown_artifact", refuse)
    if fault == "no summary":
        (project.workspace.data_report / "summary.md").unlink()
    training._show_data(project)
    (line,) = project.lines
    assert line.startswith("the data report is not shown in Prefect")
