"""Several processes that train one network together, as torchrun starts them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.distributed import PrefixStore  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous


@dataclass(frozen=True)
class Processes:
    """This process's place among those that train together."""

    rank: int
    count: int

    @classmethod
    def current(cls) -> "Processes":
        if not (distributed.is_available() and distributed.is_initialized()):
            return cls(0, 1)
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def is_first(self) -> bool:
        """The one that speaks and writes."""
        return self.rank == 0

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """Let the first one do what the block does; the others then find it done."""
        if not self.is_first:
            distributed.barrier()
        yield
        if self.is_first and self.count > 1:
            distributed.barrier()

    def any(self, flag: bool) -> bool:
        """Whether it is true in one of them: they stop together, or wait for ever."""
        if self.count == 1:
            return flag
        shared = torch.tensor(int(flag))
        distributed.all_reduce(shared, distributed.ReduceOp.MAX)
        return bool(shared)

    def part_ways(self, seed: int) -> None:
        """Let every process but the first draw a dropout of its own from here on."""
        if not self.is_first:
            torch.manual_seed(seed + 7919 * self.rank)

    def average_gradients(self, network: nn.Module, images: int) -> None:
        """Replace every gradient by its mean over the *images* of all, in one exchange."""
        if self.count == 1:
            return
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        count = gradients[0].new_tensor([images])
        flat = torch.cat([*(gradient.flatten() * count for gradient in gradients), count])
        distributed.all_reduce(flat)
        flat = flat[:-1] / flat[-1]
        for gradient, mean in zip(
            gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True
        ):
            gradient.copy_(mean.view_as(gradient))

    def share_statistics(self, network: nn.Module) -> None:
        """Give every process the same statistics of batch norms: their mean."""
        if self.count > 1:
            for name, buffer in network.named_buffers():
                if name.rpartition(".")[2].startswith("running_"):
                    distributed.all_reduce(buffer)
                    buffer /= self.count

    def add_up(self, sums: Tensor) -> Tensor:
        if self.count > 1:
            distributed.all_reduce(sums)
        return sums


@contextmanager
def joined() -> Iterator[Processes]:
    """Join the group that torchrun has started this process for; alone, do nothing."""
    if not distributed.is_torchelastic_launched():
        yield Processes.current()
        return
    on_gpus = torch.cuda.is_available() and distributed.is_nccl_available()
    backend = "cpu:gloo,cuda:nccl" if on_gpus else "gloo"
    store, rank, count = next(rendezvous("env://"))
    # torchrun's store outlives a restart, and with it the addresses of workers that are dead
    start = PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
    distributed.init_process_group(backend, store=start, rank=rank, world_size=count)
    yield Processes.current()
    distributed.destroy_process_group()  # not after a failure: the others may not answer
