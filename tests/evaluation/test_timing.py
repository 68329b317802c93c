"""A model's times are measured in a process of its own, and are never what a model is made of."""

from dataclasses import asdict
from pathlib import Path

import pytest
from brightness import png, seal_brightness

from pipeline.errors import ArtefactError
from pipeline.evaluation.timing import (
    Timing,
    as_metrics,
    read_timings,
    time_variants,
    write_timings,
)

TOOK = Timing(2.0, 3.0, 20.0, 30.0, 1600.0, 1.5, 4.0, 90.0)


@pytest.fixture
def image(tmp_path: Path) -> str:
    (tmp_path / "0.png").write_bytes(png(0))
    return "0.png"


def test_a_sealed_model_is_timed_from_files_to_answers(tmp_path, image):
    digest = seal_brightness(tmp_path / "serving")
    found = time_variants(tmp_path / "serving", digest, ["fp32"], tmp_path, [image])["fp32"]
    assert 0 < found.latency_p50_ms <= found.latency_p99_ms
    assert 0 < found.batch_latency_p50_ms <= found.batch_latency_p99_ms
    assert found.images_per_second == pytest.approx(32_000 / found.batch_latency_p50_ms)
    assert 0 < found.graph_megabytes < found.artefact_megabytes < 1
    assert found.peak_memory_megabytes is None or 10 < found.peak_memory_megabytes < 300


def test_a_model_that_does_not_run_says_why_in_one_line(tmp_path, image):
    seal_brightness(tmp_path / "serving")
    with pytest.raises(ArtefactError, match="could not be timed") as caught:
        time_variants(tmp_path / "serving", "0" * 64, ["fp32"], tmp_path, [image])
    assert "fp32" in caught.value.where[0]


def test_the_worst_variant_is_the_models_and_each_keeps_its_own():
    slower = Timing(4.0, 2.5, 20.0, 30.0, 900.0, 1.5, 4.0, None)
    found = as_metrics({"fp32": TOOK, "int8": slower})
    assert (found["latency_p50_ms"], found["latency_p99_ms"]) == (4.0, 3.0)
    assert found["images_per_second"] == 900.0
    assert (found["fp32.latency_p50_ms"], found["int8.latency_p50_ms"]) == (2.0, 4.0)
    assert found["peak_memory_megabytes"] == 90.0
    assert "int8.peak_memory_megabytes" not in found


def test_what_was_kept_at_home_is_read_back(tmp_path):
    write_timings(tmp_path, "abc", {"fp32": TOOK})
    assert read_timings(tmp_path, "abc") == as_metrics({"fp32": TOOK})
    assert asdict(TOOK).items() <= read_timings(tmp_path, "abc").items()
    assert read_timings(tmp_path, "other") == {}


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"latency_p99_ms": null}'])
def test_a_damaged_note_is_as_good_as_none(tmp_path, damage):
    write_timings(tmp_path, "abc", {"fp32": TOOK})
    (tmp_path / "timings/abc.json").write_text(damage)
    assert read_timings(tmp_path, "abc") == {}
