"""The flow only shows what the files hold, and tells automations of drift."""

from pathlib import Path

import pytest

from flows import inference
from pipeline.inference.batch import Batch
from pipeline.inference.drift import Drift, Feature
from pipeline.inference.monitoring import Monitoring
from pipeline.inference.summary import Summary
from pipeline.operations.classify import Classified


def batch(name: str, p_value: float) -> Batch:
    drift = Drift(20, 0.05, (Feature("brightness", 0.5, 1.0, p_value, p_value),), ())
    summary = Summary({"cat": 20}, {}, 1)
    monitoring = Monitoring(drift, None, ("a.png",))
    return Batch(Path(f"predictions/batch={name}"), 21, 1, monitoring, summary)


@pytest.fixture
def shown(monkeypatch):
    made = {"events": [], "lines": []}
    monkeypatch.setattr(inference, "create_markdown_artifact", lambda **said: made.update(said))
    monkeypatch.setattr(inference, "emit_event", lambda **said: made["events"].append(said))
    monkeypatch.setattr(inference, "log_line", made["lines"].append)
    return made


BATCHES = (batch("monday", 0.5), batch("tuesday", 0.001))


def test_every_batch_is_shown_and_only_the_drifted_one_is_an_event(shown):
    inference._show(Classified("pets", 3, Path("inbox"), BATCHES, ()))
    assert shown["key"] == "batches"
    for name in ("monday", "tuesday", "version 3"):
        assert name in shown["markdown"]
    (event,) = shown["events"]
    assert event["event"] == "darkroom.drift.detected"
    assert event["resource"] == {"prefect.resource.id": "darkroom.model.pets"}
    assert event["payload"]["batch"] == "predictions/batch=tuesday"
    assert event["payload"]["drift"]["drifted"] == ["brightness"]


def test_predictions_stand_where_prefect_cannot_show_them(shown, monkeypatch):
    def refuse(**said):
        raise ConnectionError("no server")

    monkeypatch.setattr(inference, "create_markdown_artifact", refuse)
    inference._show(Classified("pets", 3, Path("inbox"), BATCHES, ()))
    (line,) = shown["lines"]
    assert line.startswith("batches are not shown in Prefect")
