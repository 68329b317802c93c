"""Augmentation where the images lie: on a GPU, a whole batch at once, by the same numbers."""

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.training.augment import Augmentation, Floats, erased, jitter

_GREY = (0.299, 0.587, 0.114)


def is_able(how: Augmentation) -> bool:
    """TrivialAugment's operations on colour are Pillow's."""
    return not how.trivial


def augment_batch(
    pixels: Tensor, warp: Floats | None, draws: Floats, how: Augmentation, size: int
) -> Tensor:
    """Return *pixels* (n, side, side, 3), uint8, as the network is to see them: what `augment`
    makes of each on a CPU, but for rounding, and for the outermost pixels beyond an edge."""
    seen = pixels.permute(0, 3, 1, 2).float()
    if warp is not None:
        grid = _grid(torch.from_numpy(np.asarray(warp, np.float32)).to(pixels.device), size, seen)
        seen = nn.functional.grid_sample(
            seen, grid, mode="bilinear", padding_mode="reflection", align_corners=False
        ).round()
    if how.colour:
        seen = _coloured(seen, torch.from_numpy(jitter(draws, how.colour)).to(seen))
    if how.erasing:
        seen = _erased(seen, draws, how)
    return seen.clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1)


def _grid(warp: Tensor, size: int, source: Tensor) -> Tensor:
    """Return where each pixel comes from, (n, size, size, 2), in grid_sample's -1 to 1."""
    side = source.shape[-1]
    line = torch.arange(size, dtype=torch.float32, device=warp.device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    places = torch.stack([x, y, torch.ones_like(x)], dim=-1)
    return (2 * torch.einsum("hwk,njk->nhwj", places, warp) + 1) / side - 1


def _coloured(seen: Tensor, factors: Tensor) -> Tensor:
    brightness, contrast, saturation = (f.view(-1, 1, 1, 1) for f in factors.unbind(1))
    grey = torch.tensor(_GREY, device=seen.device).view(1, 3, 1, 1)
    mean = seen.mean(dim=(1, 2, 3), keepdim=True)
    mixed = saturation * seen + (1 - saturation) * (seen * grey).sum(1, keepdim=True)
    return brightness * (contrast * mixed + (1 - contrast) * mean)


def _erased(seen: Tensor, draws: Floats, how: Augmentation) -> Tensor:
    for i, each in enumerate(draws):
        if (rectangle := erased(each, how, seen.shape[-1])) is not None:
            rows, columns = rectangle
            seen[i, :, rows, columns] = 128
    return seen
