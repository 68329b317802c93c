"""From a trained network to one ONNX file that says the same everywhere."""

import warnings

import onnx
import torch
from torch import Tensor, nn

from pipeline.training.models import Network

OPSET = 20


class ServingGraph(nn.Module):
    """What is served: pixels in; calibrated probabilities and the embedding out."""

    def __init__(self, network: Network, temperature: float) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        embedding = self.network.embed(pixels)
        logits = self.network.head(embedding)
        return torch.softmax(logits / self.temperature, dim=1), embedding


def to_onnx(network: Network, image_size: int, temperature: float) -> bytes:
    """Return *network* as ONNX: `pixels` uint8 (n, size, size, 3) → `probabilities`, `embedding`.

    One file, no external data; the same network gives the same bytes in any folder.
    """
    graph = ServingGraph(network, temperature).eval().cpu()
    example = torch.zeros(2, image_size, image_size, 3, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about its own inner workings
        program = torch.onnx.export(
            graph,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["pixels"],
            output_names=["probabilities", "embedding"],
            dynamic_shapes={"pixels": {0: torch.export.Dim("n", min=1)}},
            external_data=False,
            verbose=False,
        )
    assert program is not None
    graph_bytes: bytes = without_traces(program.model_proto).SerializeToString(deterministic=True)
    return graph_bytes


def without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop what the exporter notes for debuggers: stack traces with this machine's paths."""
    stripped = onnx.ModelProto()
    stripped.CopyFrom(model)
    del stripped.metadata_props[:]
    stripped.doc_string = ""
    graphs = [stripped.graph, *stripped.functions]
    for graph in graphs:
        del graph.metadata_props[:]
        graph.doc_string = ""
        for node in graph.node:
            del node.metadata_props[:]
            node.doc_string = ""
        for value in (*graph.value_info, *getattr(graph, "initializer", ())):
            del value.metadata_props[:]
            value.doc_string = ""
    for value in (*stripped.graph.input, *stripped.graph.output):
        del value.metadata_props[:]
        value.doc_string = ""
    return stripped
