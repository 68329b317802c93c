"""A network's graphs: each made, run on the validation images, and judged."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.errors import ArtefactError
from pipeline.export.onnx import to_onnx
from pipeline.export.quantize import NotQuantizable, to_int8
from pipeline.export.variants import Bounds, Variant, judge, not_made, self_test_bound
from pipeline.metrics import Labels, Probabilities
from pipeline.serving.choice import SelfTest
from pipeline.serving.engine import Engine
from pipeline.serving.variants import FP32, INT8
from pipeline.training.models import Network

Pixels = npt.NDArray[np.uint8]
"""(n, size, size, 3)."""
BATCH = 64
"""Images that go through a network at once."""
_CALIBRATION_BATCH = 16
_SELF_TEST = 32
_DIGITS = 4
"""Of the self-test's probabilities: what is finer says nothing of another processor."""


@dataclass(frozen=True)
class Answers:
    probabilities: Probabilities
    embeddings: npt.NDArray[np.float32]
    """(n, width)."""


@dataclass(frozen=True)
class Graphs:
    fp32: bytes
    int8: bytes | None
    """None where there is none that may serve; its row says why."""
    int8_answers: Answers | None
    """Of the validation images; None likewise."""
    variants: tuple[Variant, ...]
    """The table: a row for each, fp32 first."""
    self_test: SelfTest
    """What another processor must answer."""


def make_graphs(
    network: Network,
    image_size: int,
    temperature: float,
    *,
    calibration: Pixels,
    validation: tuple[Pixels, Labels],
    trained: Probabilities,
    bounds: Bounds,
) -> Graphs:
    """Export *network*, in fp32 and in INT8 over *calibration*, some training images; judge both
    by their answers to the *validation* images, in an order that says nothing of them, against
    those of the network itself in torch: *trained*, (n, num_classes).

    Raises ArtefactError where fp32 is not admissible.
    """
    squares, labels = validation
    fp32 = to_onnx(network, image_size, temperature)
    expected = answers(fp32, squares).probabilities
    rows = [judge(FP32, fp32, expected, trained, expected, labels, bounds)]
    if rows[0].fault:
        raise ArtefactError(
            "the exported model is not as good as the network that was exported",
            rows[0].fault,
            mend="report this with the model's name; or raise the bound in params.yaml",
        )
    few = slice(_SELF_TEST)
    known = np.round(expected[few], _DIGITS)
    limits = {FP32: self_test_bound(expected[few], known)}
    test = SelfTest(np.array(squares[few]), known.astype(np.float32), limits)
    try:
        int8 = to_int8(fp32, batches(calibration, _CALIBRATION_BATCH))
    except NotQuantizable as error:
        return Graphs(fp32, None, None, (*rows, not_made(INT8, str(error))), test)
    int8_answers = answers(int8, squares)
    found = int8_answers.probabilities
    rows.append(judge(INT8, int8, found, trained, expected, labels, bounds))
    if not rows[-1].admissible:
        return Graphs(fp32, None, None, tuple(rows), test)
    test = replace(test, bounds=limits | {INT8: self_test_bound(found[few], known)})
    return Graphs(fp32, int8, int8_answers, tuple(rows), test)


def answers(graph: bytes, squares: Pixels) -> Answers:
    """Return what *graph* says of *squares* on this machine."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "graph.onnx"
        path.write_bytes(graph)
        engine = Engine(path)
    parts = [engine(part) for part in batches(squares)]
    probabilities, embeddings = map(np.concatenate, zip(*parts, strict=True))
    rows = probabilities.astype(np.float64)
    return Answers(rows / rows.sum(axis=1, keepdims=True), embeddings)  # float32 sums are not 1


def batches(squares: Pixels, size: int = BATCH) -> Iterator[Pixels]:
    return (squares[at : at + size] for at in range(0, len(squares), size))
