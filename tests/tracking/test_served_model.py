"""The model as MLflow loads it: whatever a request holds, an answer for each row, or one refusal.

Requests go through the very function of MLflow's scoring server, without a server.
"""

import base64
import io
import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from brightness import CARD, graph, png, seal_brightness
from hypothesis import given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel
from mlflow.pyfunc.scoring_server import invocations
from versions import seal_older

from pipeline.export.artefact import seal
from pipeline.serving.abstention import EMBEDDINGS, THRESHOLDS, Thresholds
from pipeline.tracking.packaging import package

JSON = "application/json"


def served(folder: Path) -> PyFuncModel:
    package(folder / "model", folder / "serving")
    return mlflow.pyfunc.load_model(str(folder / "model"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PyFuncModel:
    folder = tmp_path_factory.mktemp("model")
    seal_brightness(folder / "serving")
    return served(folder)


def test_a_small_body_that_says_one_image_a_million_times_is_refused(model):
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(10**6, np.int32)), [text(png(0))])
    body = io.BytesIO()
    pq.write_table(pa.table({"image": column}), body, store_schema=False, compression="zstd")
    assert len(body.getvalue()) < 100_000
    with pytest.raises(MlflowException, match="more than 1000 images"):
        invocations(body.getvalue(), "application/vnd.apache.parquet", model, None)


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def ask(model: PyFuncModel, body: Any) -> Any:
    """Return the predictions; raise what the server would answer with its status."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = invocations(data, JSON, model, model.metadata.get_input_schema())
    return json.loads(answer.response)["predictions"]


def refusal(model: PyFuncModel, body: Any) -> str:
    with pytest.raises(MlflowException) as caught:
        ask(model, body)
    assert caught.value.get_http_status_code() == 400
    told = caught.value.serialize_as_json()
    assert "Traceback" not in told and len(told) < 1500, told
    message: str = json.loads(told)["message"]
    assert message.count("\n") <= 6
    return message


DARK, LIGHT = text(png(0)), text(png(255))


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_records": [{"image": DARK}, {"image": LIGHT}]},
        {"dataframe_split": {"columns": ["image"], "data": [[DARK], [LIGHT]]}},
        {"inputs": [{"image": DARK}, {"image": LIGHT}]},
        {"inputs": {"image": [DARK, LIGHT]}},
        {"inputs": [DARK, LIGHT]},
        {"instances": [{"image": DARK}, {"image": LIGHT}]},
        {"instances": [DARK, LIGHT]},
    ],
)
def test_each_of_mlflows_ways_to_send_rows_is_answered(model, body):
    first, second = ask(model, body)
    assert (first["label"], second["label"]) == ("dark", "light")
    assert first["confidence"] == first["probabilities"]["dark"] > 0.99
    assert sum(first["probabilities"].values()) == pytest.approx(1)


def test_bytes_and_base64_are_the_same_image(model):
    as_bytes = model.predict(pd.DataFrame({"image": [png(0), png(255)]}))
    as_text = model.predict(pd.DataFrame({"image": [DARK, LIGHT[:20] + "\n" + LIGHT[20:]]}))
    assert as_bytes.to_dict() == as_text.to_dict()
    assert as_bytes["label"].tolist() == ["dark", "light"]


def test_more_images_than_go_through_the_network_at_once_stay_in_their_order(model):
    rows = [{"image": [DARK, LIGHT][n % 3 == 0]} for n in range(70)]
    answers = ask(model, {"dataframe_records": rows})
    assert [a["label"] for a in answers] == [["dark", "light"][n % 3 == 0] for n in range(70)]


def test_a_model_without_thresholds_says_so_by_null(model):
    (answer,) = ask(model, {"inputs": [DARK]})
    assert answer["conformal_set"] is None and answer["abstain_reason"] is None


def test_a_model_with_thresholds_says_what_is_possible_and_whether_to_rely_on_it(tmp_path):
    """The network's embedding is the mean of the pixels: but for black, all are 1 at length 1."""
    thresholds = Thresholds(0.9, 0.6, (0.6, 0.6), neighbours=1, distance=1.0)
    embeddings = io.BytesIO()
    np.save(embeddings, np.ones((3, 1), np.float32))
    files = {
        THRESHOLDS: json.dumps(thresholds.as_json()).encode(),
        EMBEDDINGS: embeddings.getvalue(),
    }
    seal(tmp_path / "serving", graph(), CARD, files)
    dark, grey = ask(served(tmp_path), {"inputs": [text(png(10)), text(png(128))]})
    assert (dark["conformal_set"], dark["abstain_reason"]) == (["dark"], None)
    assert (grey["conformal_set"], grey["abstain_reason"]) == (["dark", "light"], "ambiguous")


def test_a_model_of_an_older_darkroom_is_served_by_its_own_code(tmp_path):
    seal_older(tmp_path / "serving")
    older = served(tmp_path)
    (answer,) = ask(older, {"inputs": [DARK]})
    assert answer["label"] == "dark" and answer["conformal_set"] is None
    assert "row 0: not_an_image" in refusal(older, {"inputs": [text(b"no image")]})


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (text(b"no image"), "row 1: not_an_image"),
        (text(png(0)[:44]), "row 1: damaged"),
        (text(b"\x89PNG" + b"x" * 200_000), "row 1: too_large"),
        ("", "row 1: empty"),
        ("no base64!", "row 1: not base64"),
        ("abc", "row 1: not base64"),
        ("ä", "row 1: not base64"),
        (3, "row 1: neither bytes nor base64 text"),
        (None, "row 1: neither bytes nor base64 text"),
        ({"b64": DARK}, "row 1: neither bytes nor base64 text"),
    ],
)
def test_a_bad_image_is_a_refusal_that_names_its_row(model, bad, says):
    body = {"dataframe_records": [{"image": DARK}, {"image": bad}, {"image": LIGHT}]}
    message = refusal(model, body)
    assert message.startswith("1 of 3 images cannot be classified")
    assert says in message
    assert ask(model, {"inputs": [DARK]})[0]["label"] == "dark", "it still answers"


def test_of_many_bad_images_a_few_are_named(model):
    message = refusal(model, {"inputs": [text(b"no image")] * 40})
    assert message.startswith("40 of 40") and "row 4:" in message and "row 5:" not in message
    assert message.endswith("and 35 more")


@pytest.mark.parametrize(
    "body",
    [
        b'{"inputs": [',
        b"\xff\xfe",
        b"",
        [],
        {},
        {"inputs": []},
        {"instances": []},
        {"dataframe_records": []},
        {"dataframe_records": "image"},
        {"dataframe_records": [{"picture": DARK}]},
        {"dataframe_records": [{"image": [[DARK]]}]},
        {"dataframe_split": {"columns": ["image", "image"], "data": [[DARK, DARK]]}},
        {"dataframe_split": {"columns": ["image"], "data": [[DARK, DARK]]}},
        {"messages": [{"content": DARK}]},
    ],
)
def test_a_request_that_holds_no_rows_of_images_is_refused_in_few_lines(model, body):
    assert refusal(model, body)


def test_a_bad_request_is_not_sent_back(model):
    assert len(refusal(model, {"inputs": [text(b"x" * 10_000)] * 3})) < 300


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(ANYTHING | st.just(DARK), max_size=4))
def test_any_rows_are_answered_or_refused_with_400(model, rows):
    """Nothing that JSON can hold makes another status, or a traceback."""
    try:
        ask(model, {"dataframe_records": [{"image": row} for row in rows]})
    except MlflowException as error:
        assert error.get_http_status_code() == 400
        assert "stack_trace" not in error.serialize_as_json()
