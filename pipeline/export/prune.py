"""Smaller networks: channels that do hardly anything are cut out, in every layer that shares them.

What is left has the shapes that its weights have, so a file of tensors is enough to build it again.
"""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pipeline.errors import ParamsError
from pipeline.training.models import Network

_STEPS = 100
"""In which channels go; the cut is within about a hundredth of what was asked."""
_MOST_OF_A_LAYER = 0.9


def prune(network: Network, share: float, pixels: Tensor, labels: Tensor) -> tuple[Network, float]:
    """Return *network* with *share* of its FLOPs cut, at least, and the share that really was.

    *pixels*: (n, size, size, 3) uint8 and *labels*: (n,), some training images: what a channel does
    is read off them, by the first-order Taylor term of the loss in its weights (Molchanov et al.
    2019, CVPR, section 3.1), summed over the layers that share it (DepGraph: Fang et al. 2023,
    CVPR), ranked over all layers. A channel that is never active has no gradient, and goes first.
    Of Torch-Pruning's criteria this kept the most: of a small CNN on digits at half of the FLOPs,
    accuracy 0.51 and 0.87 before any fine-tune, two seeds; magnitude, norms' scales and LAMP 0.2
    to 0.4.

    The input and the outputs of the head stay; the embedding may get narrower. Fine-tune it
    afterwards. Raises ParamsError where the network cannot be cut so far.
    """
    import torch_pruning  # it imports timm, which takes seconds

    pruned = copy.deepcopy(network).eval().requires_grad_(True)
    last = [layer for layer in pruned.head.modules() if isinstance(layer, nn.Linear)][-1]
    whole = left = flops(pruned, pixels)
    try:
        pruner = torch_pruning.pruner.BasePruner(
            pruned,
            pixels[:1],
            importance=torch_pruning.importance.GroupTaylorImportance(),
            global_pruning=True,
            pruning_ratio=1.0,
            max_pruning_ratio=_MOST_OF_A_LAYER,
            iterative_steps=_STEPS,
            ignored_layers=[last],
            in_channel_groups={},  # the library's own defaults are shared by all pruners
            out_channel_groups={},
        )
        for _ in range(_STEPS):
            if left <= (1 - share) * whole:
                break
            pruned.zero_grad()
            nn.functional.cross_entropy(pruned(pixels), labels).backward()  # type: ignore[no-untyped-call]
            pruner.step()
            left = flops(pruned, pixels)
        _check_rebuild(network, pruned, pixels)
    except Exception as error:  # the library cuts what it takes for a graph; not all of it is one
        raise _cannot_be_cut(share, (str(error) or type(error).__name__).splitlines()[0]) from error
    if left > (1 - share) * whole:
        raise _cannot_be_cut(share, f"no more than {1 - left / whole:.0%} can go")
    pruned.zero_grad()
    return pruned, 1 - left / whole


def flops(network: Network, pixels: Tensor) -> int:
    """Return the floating-point operations that one image takes, of convolutions and products;
    *network* in eval mode, or one image moves its statistics."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(pixels[:1])
    return int(counter.get_total_flops())


def reshape(network: Network, state: Mapping[str, Tensor]) -> None:
    """Give *network*, as `build` returns it, the shapes of *state*, in place, for weights to load.

    The weights are new and mean nothing. Raises ParamsError where *state* has other tensors.
    """
    if network.state_dict().keys() != state.keys():
        raise ParamsError(
            "the weights are not of this architecture",
            mend="dvc repro train export",
        )
    for path, module in network.named_modules():
        own = {**dict(module.named_parameters(recurse=False)), **_buffers(module)}
        prefix = f"{path}." if path else ""
        wanted = {name: state[prefix + name] for name in own if prefix + name in state}
        for name, tensor in wanted.items():
            if own[name].shape != tensor.shape:
                blank = torch.zeros(tensor.shape, dtype=own[name].dtype, device=own[name].device)
                is_weight = isinstance(own[name], nn.Parameter)
                setattr(module, name, nn.Parameter(blank) if is_weight else blank)
        _set_widths(module)


def _buffers(module: nn.Module) -> dict[str, Tensor]:
    return dict(module.named_buffers(recurse=False))


def _set_widths(module: nn.Module) -> None:
    """Make a layer say of itself what its weights say."""
    if isinstance(module, nn.Conv2d):
        outputs, inputs_each = module.weight.shape[:2]
        if module.groups == module.in_channels == module.out_channels:  # depthwise
            module.groups = outputs
        module.out_channels, module.in_channels = outputs, inputs_each * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
        module.num_features = len(module.running_mean)
    elif isinstance(module, nn.LayerNorm) and module.elementwise_affine:
        module.normalized_shape = tuple(module.weight.shape)


def _check_rebuild(network: Network, pruned: Network, pixels: Tensor) -> None:
    """Raise ValueError where the shapes of its weights do not say all about *pruned*."""
    rebuilt = copy.deepcopy(network).eval()
    reshape(rebuilt, pruned.state_dict())
    rebuilt.load_state_dict(pruned.state_dict())
    with torch.no_grad():
        if not torch.equal(rebuilt(pixels[:2]), pruned(pixels[:2])):
            raise ValueError("its weights do not say how it was cut")


def _cannot_be_cut(share: float, why: str) -> ParamsError:
    return ParamsError(
        f"export.prune: this network cannot have {share:.0%} of its FLOPs cut",
        why[:200],
        mend="set export.prune in params.yaml to a smaller share, or to 0",
    )
