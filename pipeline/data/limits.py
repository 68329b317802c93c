"""What is refused before it is decoded: the same at the source, in the model and in the inbox."""

from pipeline.params import DataParams
from pipeline.serving.images import Limits


def image_limits(params: DataParams) -> Limits:
    return Limits(
        bytes=round(params.max_megabytes * 2**20), pixels=round(params.max_megapixels * 10**6)
    )
