"""A pickle is found wherever a reader would find one; what Darkroom itself writes is none."""

import io
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from attacks import Canary
from brightness import graph, seal_brightness
from PIL import Image

from pipeline.tracking.pickles import find_pickles


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_of_any_protocol_is_found_by_its_content(tmp_path, protocol):
    (tmp_path / "notes.txt").write_bytes(pickle.dumps(Canary(tmp_path), protocol))
    assert find_pickles(tmp_path) == ["notes.txt"]


@pytest.mark.parametrize("name", ["a.pkl", "a.PTH", "a.pt2", "a.pt", "a.pickle", "a.joblib"])
def test_a_pickle_is_found_by_its_name(tmp_path, name):
    (tmp_path / name).write_text("anything")
    assert find_pickles(tmp_path) == [name]


def test_what_torch_saves_is_a_pickle_and_what_numpy_saves_is_not(tmp_path):
    with zipfile.ZipFile(tmp_path / "weights.bin", "w") as archive:
        archive.writestr("weights/data.pkl", pickle.dumps({}))
    np.savez(tmp_path / "selftest.npz", pixels=np.zeros(3))
    np.save(tmp_path / "embeddings.npy", np.zeros(3))
    assert find_pickles(tmp_path) == ["weights.bin"]


def zipped(*members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


def array(values: object, dtype: object) -> bytes:
    out = io.BytesIO()
    np.save(out, np.array(values, dtype))
    return out.getvalue()


OLD, NEW = (pickle.dumps(Canary(Path("canary")), protocol) for protocol in (0, 4))
ARRAY = array([1, 2], float)


@pytest.mark.parametrize(
    "content",
    {
        "a zip behind it": OLD + zipped(("a.npy", ARRAY)),
        "a zip behind a new one": NEW + zipped(("a.npy", ARRAY)),
        "a zip behind another zip": zipped(("a.npy", ARRAY)) + zipped(("a.npy", ARRAY)),
        "in a zip": zipped(("a.npy", ARRAY), ("b.npy", NEW)),
        "an old one in a zip": zipped(("a.npy", OLD)),
        "by name in a zip": zipped(("weights/data.pkl", b"anything")),
        "in a zip in a zip": zipped(("a.npy", zipped(("b.npy", NEW)))),
        "a cut zip": zipped(("a.npy", NEW))[:-1],
        "more members than ours": zipped(*((f"{n}.npy", ARRAY) for n in range(1001))),
        "an array of objects": array([{}], object),
        "objects in a field": array([(1, {})], [("a", int), ("b", object)]),
        "in a zip, an array of objects": zipped(("a.npy", array([{}], object))),
        "an array whose head is none": b"\x93NUMPY\x01\x00v\x00" + NEW,
        "one that does not come to its end": OLD[:-1] + b"\xff",
        "behind a harmless one": b"I1\n." + OLD,
        "a number that pickletools cannot read": b"I0x10\n0" + OLD,
        "a call of a method alone": b"cos\nenviron\nS'A'\nS'B'\ns.",
    }.items(),
    ids=lambda item: item[0],
)
def test_a_pickle_is_found_wherever_a_reader_would_find_it(tmp_path, content):
    (tmp_path / "selftest.npz").write_bytes(content[1])
    assert find_pickles(tmp_path) == ["selftest.npz"]


def test_bytes_that_ask_for_memory_are_given_none(tmp_path):
    (tmp_path / "a").write_bytes(b"\x96" + (2**38).to_bytes(8, "little"))
    tracemalloc.start()
    assert find_pickles(tmp_path) == []
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_no_object_is_made_of_what_a_file_holds(tmp_path):
    """To hash the first one's key takes 2^60 steps; the second one's overflows a stack in C."""
    (tmp_path / "a").write_bytes(b"})" + b"2\x86" * 60 + b"Ns.")
    (tmp_path / "b").write_bytes(b"})" + b"\x85" * 1_000_000 + b"Ns.")
    assert find_pickles(tmp_path) == ["b"], "more instructions than are followed"


def image(kind: str) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def test_what_darkroom_writes_is_no_pickle(tmp_path):
    rng = np.random.default_rng(0)
    table = pa.table({"a": rng.random(100), "label": ["cat", "dog"] * 50})
    pq.write_table(table, tmp_path / "table.parquet")
    np.savez(tmp_path / "selftest.npz", pixels=rng.integers(0, 256, 5000, np.uint8), few=[0.5])
    np.save(tmp_path / "embeddings.npy", rng.random((32, 512), np.float32))
    for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"):
        (tmp_path / f"image.{kind}").write_bytes(image(kind))
    texts = {
        "fp32.onnx": graph(),
        "conda.yaml": b"channels:\n- conda-forge\ndependencies:\n- python=3.11\n",
        "MLmodel": b"artifact_path: model\nflavors:\n  python_function:\n",
        "python_env.yaml": b"python: 3.11.7\nbuild_dependencies:\n- pip==24.0\n",
        "requirements.txt": b"mlflow==3.17.2\nnumpy==2.3.1\n",
        "a.py": b"import json\nimport os\n\n\nclass A:\n    pass\n",
        "card.json": b'{\n  "classes": ["cat", "dog"]\n}\n',
        "notes.txt": b"(in short)\nIt is none.\n",
        "empty.txt": b"",
    }
    for name, content in texts.items():
        (tmp_path / name).write_bytes(content)
    assert find_pickles(tmp_path) == []
    seal_brightness(tmp_path / "sealed")
    assert find_pickles(tmp_path) == []


def test_random_bytes_are_seldom_taken_for_a_pickle(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(2000):
        (tmp_path / f"{number}").write_bytes(rng.bytes(300))
    assert len(find_pickles(tmp_path)) <= 2
