"""One measurement of benchmarks/inference.py, in a process of its own:

`python benchmarks/inference_parts.py loop|torchvision|engine|decode MODEL PHOTOS FIRST`

prints the seconds until FIRST images were done, and the images/s of the others. `loop`: what one
writes in a quarter of an hour (a Dataset, Pillow or torchvision's decoder, a DataLoader with two
workers, the network in eager torch). `engine`: the sealed graph alone on all cores, fed from
memory. `decode`: files to squares alone on all cores.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

SIZE, BATCH = 224, 32


def main(what: str, model: Path, photos: Path, first: int) -> None:
    started, done, first_done = time.perf_counter(), 0, 0.0
    files, at_first = sorted(photos.rglob("*.jpg")), 0
    for images in _PARTS[what](model, files):
        done += images
        if not at_first and done >= first:
            first_done, at_first = time.perf_counter(), done
    steady = (done - at_first) / (time.perf_counter() - first_done)
    print(json.dumps({"start": first_done - started, "steady": steady}))


def _loop(model: Path, files: list[Path], *, decoder: str = "Pillow") -> Iterator[int]:
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision.io import ImageReadMode, decode_jpeg, read_file
    from torchvision.models import get_model
    from torchvision.transforms import v2

    mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    def opened(path: Path) -> object:
        if decoder == "torchvision":
            return decode_jpeg(read_file(str(path)), ImageReadMode.RGB)
        with Image.open(path) as image:
            return image.convert("RGB")

    class Photos(Dataset):  # type: ignore[type-arg]
        to_square = v2.Compose([v2.Resize(SIZE), v2.CenterCrop(SIZE)])
        to_tensor = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
        normalize = v2.Normalize(mean, deviation)

        def __len__(self) -> int:
            return len(files)

        def __getitem__(self, at: int) -> torch.Tensor:
            return self.normalize(self.to_tensor(self.to_square(opened(files[at]))))

    network = get_model(model.name, num_classes=2).eval()
    answers = []
    with torch.inference_mode():
        for batch in DataLoader(Photos(), BATCH, num_workers=2):
            answers.append(torch.softmax(network(batch), 1).numpy())
            yield len(batch)


def _torchvision(model: Path, files: list[Path]) -> Iterator[int]:
    return _loop(model, files, decoder="torchvision")


def _engine(model: Path, files: list[Path]) -> Iterator[int]:
    from pipeline.serving.classifier import Classifier
    from pipeline.serving.images import Limits, to_square

    engine = Classifier(model)._engine
    squares = np.stack([to_square(path.read_bytes(), SIZE, Limits()) for path in files[:512]])
    for at in range(0, len(files), BATCH):
        some = squares[np.arange(at, min(at + BATCH, len(files))) % len(squares)]
        engine(some)
        yield len(some)


def _decode(model: Path, files: list[Path]) -> Iterator[int]:
    from pipeline.serving.engine import cores
    from pipeline.serving.images import Limits, to_square
    from pipeline.stream import in_order

    def square(path: Path) -> object:
        return to_square(path.read_bytes(), SIZE, Limits())

    for _ in in_order(square, files, threads=cores(), ahead=BATCH):
        yield 1


_PARTS = {"loop": _loop, "torchvision": _torchvision, "engine": _engine, "decode": _decode}

if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
