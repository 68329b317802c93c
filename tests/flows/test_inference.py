"""The flow only shows what the files hold, and tells automations of drift."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows import inference
from pipeline.errors import SourceError
from pipeline.inference.batch import Batch
from pipeline.inference.drift import Drift, Feature
from pipeline.inference.monitoring import Monitoring
from pipeline.inference.summary import Summary
from pipeline.inference.timing import Timing
from pipeline.operations import classify
from pipeline.operations.classify import Classified


def batch(name: str, p_value: float) -> Batch:
    drift = Drift(20, 0.05, (Feature("brightness", 0.5, 1.0, p_value, p_value),), ())
    classes = {"cat": 9, "dog|[x](http://x)": 6, "a": 2, "b": 1, "c": 1, "d": 1}
    confidence = {"mean": 0.875, "p10": 0.5, "p50": 0.9}
    histogram = (*[0] * 10, 1, 1, 0, 0, 0, 0, 0, 0, 6, 12)
    summary = Summary(21, classes, {"damaged": 1}, {"ambiguous": 7}, histogram, confidence)
    pace = {"images_per_second": 83.21, "latency_p50_ms": 12.34, "latency_p99_ms": 40.0}
    timing = Timing(datetime(2026, 1, 2, tzinfo=UTC), 2, pace)
    said = Monitoring(drift, None, ("a.png",))
    return Batch(Path(f"predictions/batch={name}"), said, summary, timing)


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


def test_what_was_published_is_shown_though_the_run_has_failed(shown, monkeypatch):
    failed = SourceError("13 of 20 files were refused", mend="look at them")
    found = Classified("pets", 3, Path("inbox"), BATCHES, (), failed)
    monkeypatch.setattr(classify, "run", lambda *given: found)
    with pytest.raises(SourceError, match="13 of 20"):
        inference._classify(SimpleNamespace(home=None, params=None), None)
    assert "monday" in shown["markdown"] and len(shown["events"]) == 1


def test_a_batch_is_told_with_what_came_of_it(shown):
    inference._show(Classified("pets", 3, Path("inbox"), BATCHES[:1], ()))
    cells = [cell.strip() for cell in shown["markdown"].splitlines()[-1].split(" | ")]
    assert cells[:2] == ["| `monday`", "21"]
    assert cells[2].startswith("no drift in brightness")
    assert cells[3].startswith("9 cat, 6 dog") and cells[3].endswith(", 1 b, 2 others")
    assert "[x](" not in cells[3]
    assert cells[4:6] == ["7 (7 ambiguous)", "1 (1 damaged)"]
    assert cells[7:] == ["0.875 ▁▁▁▁▁▂▁▁▁█", "83.2, 12.3 ms |"]


def test_predictions_stand_where_prefect_cannot_show_them(shown, monkeypatch):
    def refuse(**said):
        raise ConnectionError("no server")

    monkeypatch.setattr(inference, "create_markdown_artifact", refuse)
    inference._show(Classified("pets", 3, Path("inbox"), BATCHES, ()))
    (line,) = shown["lines"]
    assert line.startswith("batches are not shown in Prefect")
