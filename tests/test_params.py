"""params.yaml: what is wrong is named, in a few lines; what is written keeps its comments."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from ruamel.yaml import YAML

from pipeline.errors import ParamsError
from pipeline.params import Params, load_params, set_source, slug

TEMPLATE = Path(__file__).parents[1] / "params.yaml"


@pytest.fixture
def edited(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """Return a function that writes the template's params.yaml with some dotted keys changed."""

    def edit(changes: dict[str, Any]) -> Path:
        yaml = YAML(typ="safe")
        document = yaml.load(TEMPLATE)
        for key, value in changes.items():
            *sections, name = key.split(".")
            section = document
            for part in sections:
                section = section[part]
            if value is None:
                del section[name]
            else:
                section[name] = value
        path = tmp_path / "params.yaml"
        yaml.dump(document, path)
        return path

    return edit


def fault_of(path: Path) -> ParamsError:
    with pytest.raises(ParamsError) as caught:
        load_params(path)
    assert len(str(caught.value).splitlines()) <= 5, str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param("train.epoch", 3, id="unknown key"),
        pytest.param("trane", {"epochs": 3}, id="unknown section"),
        pytest.param("evaluate", None, id="missing section"),
        pytest.param("train.epochs", None, id="missing key"),
        pytest.param("evaluate", 64, id="number for a section"),
        pytest.param("train.epochs", "15", id="string for a number"),
        pytest.param("train.epochs", True, id="yes for a number"),
        pytest.param("train.epochs", 1.5, id="part of an epoch"),
        pytest.param("data.source", 2024, id="number for a string"),
        pytest.param("data.source", "", id="empty string"),
        pytest.param("split.test", 0.5, id="half of all images for the test"),
        pytest.param("split.group_by", "patient", id="group by nothing known"),
        pytest.param("split.group_by", "auto:patient", id="auto of something"),
        pytest.param("split.group_by", "column:", id="column without a name"),
        pytest.param("split.group_by", "path:", id="path without an expression"),
        pytest.param("split.group_by", "path:(", id="expression that is none"),
        pytest.param("data.near_duplicate_distance", 11, id="near that is far"),
        pytest.param("data.near_duplicate_distance", -1, id="nearer than equal"),
        pytest.param("data.max_megapixels", 501, id="images larger than any"),
        pytest.param("train.momentum", -0.1, id="below the range"),
        pytest.param("train.learning_rate", float("nan"), id="not a number"),
        pytest.param("train.learning_rate", float("inf"), id="infinite"),
        pytest.param("train.device", "gpu", id="none of the choices"),
        pytest.param("train.image_size", 4, id="size out of range"),
        pytest.param("train.image_size", "big", id="size that is no size"),
        pytest.param("registry.model_name", "a/b", id="name that is a path"),
        pytest.param("inference.audit", -1, id="less than no image"),
        pytest.param("inference.drift.alpha", 0.001, id="finer than p-values are"),
    ],
)
def test_one_fault_is_told_as_one_that_names_its_key(edited, key, value):
    error = fault_of(edited({key: value}))
    assert error.what == "params.yaml has 1 fault"
    assert error.where[0].startswith(f"{key}: ")


@pytest.mark.parametrize(
    "group_by", ["auto", "column:patient", "column:a: b", r"path:patient(\d+)", "path:a:b"]
)
def test_every_way_to_group_images_is_taken(edited, group_by):
    assert load_params(edited({"split.group_by": group_by})).split.group_by == group_by


def test_many_faults_are_counted_and_three_are_shown(edited):
    error = fault_of(edited({f"train.unknown_{n}": n for n in range(9)}))
    assert error.what == "params.yaml has 9 faults"
    assert len(error.where) == 3


@pytest.mark.parametrize("text", ["", "- a\n", "a\n"], ids=["empty", "list", "sentence"])
def test_a_file_without_sections_is_told_in_words(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    error = fault_of(path)
    assert all(line[0].isalpha() for line in error.where), str(error)


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        pytest.param("data: [1, 2\ntrain: 3\n", 2, id="open bracket"),
        pytest.param("data:\n\tsource: x\n", 2, id="tab"),
        pytest.param("data: 1\ndata: 2\n", 2, id="key twice"),
        pytest.param("data: !!python/object:os.system x\n", 1, id="object of Python"),
    ],
)
def test_broken_yaml_is_told_with_its_line(tmp_path, broken, line):
    path = tmp_path / "params.yaml"
    path.write_text(broken)
    assert fault_of(path).where[0].startswith(f"line {line}, ")


def test_a_key_without_a_space_after_its_colon_is_told_by_its_own_line(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("# knobs\ndata:\n  min_per_class: 1\n  source:/photos/a\n  max_lost: 1\n")
    error = fault_of(path)
    assert error.where == ("line 4: source:/photos/a",) and "space" in error.what


@pytest.mark.parametrize(("key", "bound"), [("accuracy", "min"), ("latency_p99_ms", "max")])
def test_a_gate_that_is_a_bare_number_is_told_how_to_write_it(edited, key, bound):
    error = fault_of(edited({f"gate.{key}": 0.9}))
    assert error.where == (f"gate.{key}: write {{{bound}: 0.9}}, not 0.9 alone",)


def test_an_unfinished_merge_is_called_by_its_name(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("data:\n<<<<<<< HEAD\n  source: a\n=======\n  source: b\n>>>>>>> other\n")
    assert "unfinished merge" in fault_of(path).what


@pytest.mark.parametrize("broken", [b"data: \x00\n", b"data: K\xf6ln\n"], ids=["NUL", "Latin-1"])
def test_bytes_that_are_no_text_are_told(tmp_path, broken):
    path = tmp_path / "params.yaml"
    path.write_bytes(broken)
    assert "params.yaml is not YAML" in fault_of(path).what


def test_a_missing_file_is_told_with_the_place_looked_at(tmp_path):
    error = fault_of(tmp_path / "params.yaml")
    assert error.what == "params.yaml is missing"
    assert str(tmp_path / "params.yaml") in error.where[0]


def test_parameters_cannot_be_changed_once_read(params):
    with pytest.raises(ValidationError):
        params.train.epochs = 1


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("digits", "digits"),
        ("/data/my photos/", "my-photos"),
        ("~/Köln", "K-ln"),
        (".", "images"),
        ("..", "images"),
        ("日本", "images"),
    ],
)
def test_models_are_named_after_their_source(edited, source, name):
    assert load_params(edited({"data.source": source})).model_name == name


def test_a_model_name_that_is_given_wins(edited):
    changes = {"data.source": "photos", "registry.model_name": "pets"}
    assert load_params(edited(changes)).model_name == "pets"


@settings(deadline=None)
@given(st.text())
def test_a_slug_is_always_a_name_that_the_registry_takes(text):
    made = slug(text)
    assert not made or _with_model_name(made).registry.model_name == made


def _with_model_name(name: str) -> Params:
    document = YAML(typ="safe").load(TEMPLATE)
    document["registry"]["model_name"] = name
    return Params.model_validate(document)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the template's params.yaml, alone in its folder."""
    path = tmp_path / "params.yaml"
    path.write_bytes(TEMPLATE.read_bytes())
    return path


@pytest.mark.parametrize(
    "source",
    [
        "photos",
        "~/my photos",
        "yes",
        "12",
        "# 1",
        "a: b",
        pytest.param("/mnt/archive of the museum/" + "scans of the glass plates/" * 5, id="long"),
    ],
)
def test_setting_the_source_changes_its_line_alone(copy, source):
    set_source(copy, source)
    before = TEMPLATE.read_text().splitlines()
    after = copy.read_text().splitlines()
    assert len(after) == len(before)
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == 1
    old, new = changed[0]
    assert "source:" in new
    assert new.endswith(old[old.index(" #") :])
    assert [path.name for path in copy.parent.iterdir()] == ["params.yaml"]


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1))
def test_whatever_path_is_set_as_source_is_read_back(copy, source):
    copy.write_bytes(TEMPLATE.read_bytes())
    set_source(copy, source)
    assert load_params(copy).data.source == source


def test_setting_the_source_tells_what_it_was(copy):
    assert set_source(copy, "photos") == load_params(TEMPLATE).data.source
    assert set_source(copy, "photos") == "photos"


def test_setting_the_source_that_is_set_leaves_the_file_alone(copy):
    set_source(copy, "photos")
    before = copy.stat()
    set_source(copy, "photos")
    after = copy.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
