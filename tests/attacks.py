"""What somebody who can write to MLflow's artefacts, but not to its database, may do to a model.

Each attack changes *model*, the stored MLflow model, so that loading it would make the file
*canary*; or it makes the model answer wrongly.
"""

import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from brightness import seal_brightness
from ruamel.yaml import YAML

SEALED = "artifacts/serving"


class Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def flip_a_byte(model: Path, canary: Path) -> None:
    graph = model / SEALED / "fp32.onnx"
    data = bytearray(graph.read_bytes())
    data[-1] ^= 1
    graph.write_bytes(data)


def swap_for_another_valid_model(model: Path, canary: Path) -> None:
    shutil.rmtree(model / SEALED)
    seal_brightness(
        model / SEALED, classes=["light", "dark"], code=f"Path({str(canary)!r}).touch()"
    )


def add_python_model_pkl(model: Path, canary: Path) -> None:
    (model / "python_model.pkl").write_bytes(pickle.dumps(Canary(canary)))
    ask_for(
        model,
        loader_module="mlflow.pyfunc.model",
        python_model="python_model.pkl",
        model_code_path=None,
    )


def add_pth(model: Path, canary: Path) -> None:
    (model / "data").mkdir()
    (model / "data/model.pth").write_bytes(pickle.dumps(Canary(canary)))
    (model / "data/pickle_module_info.txt").write_text("pickle")
    ask_for(model, loader_module="mlflow.pytorch", data="data")


def add_pt2(model: Path, canary: Path) -> None:
    with zipfile.ZipFile(model / SEALED / "model.pt2", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Canary(canary)))


def put_a_zip_behind_a_pickle(model: Path, canary: Path) -> None:
    """To a reader of archives it is an array, to one of pickles a pickle."""
    file = model / SEALED / "selftest.npz"
    np.savez(file, pixels=np.zeros(3))
    file.write_bytes(pickle.dumps(Canary(canary), 0) + file.read_bytes())


def hide_one_in_an_archive(model: Path, canary: Path) -> None:
    with zipfile.ZipFile(model / SEALED / "selftest.npz", "w") as archive:
        archive.writestr("pixels.npy", pickle.dumps(Canary(canary)))


def add_an_array_of_objects(model: Path, canary: Path) -> None:
    np.savez(model / SEALED / "selftest.npz", pixels=np.array([Canary(canary)], object))


def add_code(model: Path, canary: Path) -> None:
    """A module that MLflow lets come before the installed one of that name."""
    add_module(model / "code/onnxruntime.py", canary)
    ask_for(model, code="code")


def name_another_loader(model: Path, canary: Path) -> None:
    add_module(model / "code/another.py", canary)
    ask_for(model, code="code", loader_module="another")


def nest_tuples(model: Path, canary: Path) -> None:
    """To hash such a key takes a reader of pickles 2^60 steps."""
    (model / "x.bin").write_bytes(b"})" + b"2\x86" * 60 + b"Ns.")


def nest_deeper(model: Path, canary: Path) -> None:
    """To hash such a key overflows the stack of a reader in C."""
    (model / "x.bin").write_bytes(b"})" + b"\x85" * 1_000_000 + b"Ns.")


def add_a_huge_file(model: Path, canary: Path) -> None:
    """Its bytes are holes: they take room where they are copied to."""
    with (model / "sparse").open("wb") as out:
        out.truncate(40 * 2**30)


def make_a_file_huge(model: Path, canary: Path) -> None:
    with (model / SEALED / "fp32.onnx").open("ab") as out:
        out.truncate(40 * 2**30)


def put_a_pipe(model: Path, canary: Path) -> None:
    """Whoever opens it waits for ever."""
    (model / "MLmodel").unlink()
    os.mkfifo(model / "MLmodel")


def link_a_file(model: Path, canary: Path) -> None:
    (model / "MLmodel").rename(model.parent / "MLmodel.kept")
    (model / "MLmodel").symlink_to(model.parent / "MLmodel.kept")


def link_a_folder(model: Path, canary: Path) -> None:
    """As if all of the disk belonged to the model."""
    shutil.rmtree(model / SEALED)
    (model / SEALED).symlink_to("/")


def require_a_package(model: Path, canary: Path) -> None:
    """Whoever makes an environment for the model runs its setup.py."""
    add_module(model / "package/setup.py", canary)
    with (model / "requirements.txt").open("a") as out:
        out.write(f"\n-e {model / 'package'}\n")


def add_module(file: Path, canary: Path) -> None:
    file.parent.mkdir()
    file.write_text(f"from pathlib import Path\nPath({str(canary)!r}).touch()\n")


def ask_for(model: Path, **values: str | None) -> None:
    """Change what MLmodel tells MLflow to do."""
    yaml, file = YAML(typ="safe"), model / "MLmodel"
    document = yaml.load(file)
    flavor = document["flavors"]["python_function"]
    flavor |= values
    document["flavors"]["python_function"] = {k: v for k, v in flavor.items() if v is not None}
    yaml.dump(document, file)


ATTACKS: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "a byte flipped": (flip_a_byte, r"changed: artifacts/serving/fp32\.onnx"),
    "another valid model": (
        swap_for_another_valid_model,
        r"added: artifacts/serving/code/darkroom_served",
    ),
    "python_model.pkl": (add_python_model_pkl, r"added: python_model\.pkl"),
    ".pth": (add_pth, r"added: data"),
    ".pt2": (add_pt2, r"added: artifacts/serving/model\.pt2"),
    "a zip behind a pickle": (put_a_zip_behind_a_pickle, r"added: artifacts/serving/selftest\.npz"),
    "in an archive": (hide_one_in_an_archive, r"added: artifacts/serving/selftest\.npz"),
    "an array of objects": (add_an_array_of_objects, r"added: artifacts/serving/selftest\.npz"),
    "tuples in tuples": (nest_tuples, r"added: x\.bin"),
    "a million tuples": (nest_deeper, r"added: x\.bin"),
    "a huge file": (add_a_huge_file, r"added: sparse"),
    "a huge graph": (make_a_file_huge, r"changed: artifacts/serving/fp32\.onnx"),
    "a pipe": (put_a_pipe, r"changed: MLmodel"),
    "a link": (link_a_file, r"changed: MLmodel"),
    "a link to /": (link_a_folder, r"changed: artifacts/serving"),
    "code/": (add_code, r"changed: MLmodel\n *added: code"),
    "MLmodel's loader": (name_another_loader, r"changed: MLmodel\n *added: code"),
    "requirements": (
        require_a_package,
        r"changed: requirements\.txt\n *added: package",
    ),
}
"""Name → the attack, and what the refusal says."""
