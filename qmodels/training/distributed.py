"""Several processes train one network: each computes its share of every batch.

``torchrun`` starts them, and sets RANK, LOCAL_RANK and WORLD_SIZE. All of them draw the same random
numbers and hold the same weights. Gradients are summed, and batch norms take their statistics over
all shares. The result is that of one process with the whole batch.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from qmodels.system.errors import UserError

_T = TypeVar("_T")


@dataclass(frozen=True)
class Workers:
    """This process's place among those that train together."""

    rank: int
    count: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this is the process that reads, writes and reports."""
        return self.rank == 0

    def require_single_process(self, refusal: str) -> None:
        """Refuse, in a line, what can't be done by several processes."""
        if self.count > 1:
            raise UserError(refusal)

    def shard(self, batch: Tensor) -> Tensor:
        """This process's part of a batch, along its first axis."""
        return batch[self.rank :: self.count]

    def all_reduce_gradients(self, model: nn.Module) -> None:
        """Replace every gradient by its sum over all processes."""
        if self.count == 1:
            return
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        parts = flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def all_reduce(self, value: Tensor) -> Tensor:
        """The sum of a tensor over all processes."""
        if self.count > 1:
            distributed.all_reduce(value)
        return value

    def broadcast_object(self, value: _T) -> _T:
        """The first process's value, whatever this one's is; it has to be picklable."""
        if self.count == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, src=0)
        return values[0]

    def broadcast(self, tensors: list[Tensor]) -> None:
        """Overwrite tensors by those of the first process."""
        if self.count > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, src=0)


@contextmanager
def join() -> Iterator[Workers]:
    """Join the others that torchrun started; alone where it did not."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    cuda = torch.cuda.is_available()
    if count == 1:
        yield Workers(0, 1, torch.device("cuda" if cuda else "cpu"))
        return
    local = int(os.environ["LOCAL_RANK"])
    if cuda and local >= torch.cuda.device_count():
        raise UserError(
            f"process {local} has no GPU of its own: start at most {torch.cuda.device_count()} "
            "with --nproc-per-node"
        )
    if cuda:
        torch.cuda.set_device(local)
    distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        device = torch.device("cuda", local) if cuda else torch.device("cpu")
        yield Workers(distributed.get_rank(), count, device)
    finally:
        distributed.destroy_process_group()


class _AllReduce(torch.autograd.Function):
    """The sum of a tensor over all processes, through which gradients flow."""

    @staticmethod
    def forward(context: Any, value: Tensor) -> Tensor:
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """Every process's loss depends on the sum: so sum their gradients."""
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        return total


def _all_reduce_differentiable(value: Tensor) -> Tensor:
    total: Tensor = _AllReduce.apply(value)
    return total


class _SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose statistics are over the shares of all processes.

    torch's own ``SyncBatchNorm`` refuses the CPU.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        exact = x.float()
        count = x.numel() // x.shape[1] * distributed.get_world_size()  # shares are equal
        mean = _all_reduce_differentiable(exact.sum(dim=(0, 2, 3))) / count
        centered = exact - mean[None, :, None, None]
        variance = _all_reduce_differentiable((centered * centered).sum(dim=(0, 2, 3))) / count
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        with torch.no_grad():
            self.num_batches_tracked += 1
            momentum = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * count / (count - 1), momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        normalized: Tensor = centered * scale[None, :, None, None]
        return (normalized + self.bias[None, :, None, None]).to(x.dtype)


def share_statistics(model: nn.Module) -> None:
    """Make a network's batch norms take their statistics over all processes."""
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = _SharedBatchNorm2d
