"""Training one network in several processes so that the result is that of one process, up to rounding and dropout masks.

Each process computes the loss of the *whole* batch: sums over its own patches are completed by those of the others
(:meth:`Team.pooled`), and so are the statistics of batch normalisation. Gradients are then summed by torch's
DistributedDataParallel. Averaging the processes' own mean losses instead would weigh a patch by how little of its
neighbours is annotated.

Legend: ``B`` batch, ``C`` channels, ``S`` space, ``N`` values.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from alframe.errors import InvalidValue, PeerLost
from alframe.teams import Rank

__all__ = ["PooledBatchNorm", "Team"]


class Team:
    """The processes that train one network, over torch's default process group; a process alone needs no group.

    Every method must be called by all processes in the same order.
    """

    def __init__(self, rank: Rank, device: torch.device) -> None:
        """Raises InvalidValue when torch's process group is not the team that `rank` speaks of."""
        self.rank, self._device = rank, device
        if self.alone:
            return
        found = (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else None
        if found != (rank.index, rank.count):
            raise InvalidValue(
                f"training as {rank} needs torch.distributed initialised with rank {rank.index} of {rank.count}, got {found}"
            )

    @property
    def alone(self) -> bool:
        """Whether this process trains by itself."""
        return self.rank.count == 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that keeps the result."""
        return self.rank.index == 0

    def prepare(self, module: nn.Module) -> nn.Module:
        """Let batch normalisation see the whole batch. Names and values of the weights stay."""
        return module if self.alone else _pool_batch_norm(module)

    def wrap(self, module: nn.Module, *, partly_used: bool) -> nn.Module:
        """What to call in a training step instead of `module`; `partly_used` when some weights may get no gradient."""
        if self.alone:
            return module
        devices = [self._device] if self._device.type == "cuda" else None
        return DistributedDataParallel(
            module, device_ids=devices, find_unused_parameters=partly_used, gradient_as_bucket_view=True
        )

    def pooled(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of `values` (N) over all processes; its gradient reaches this process's own part only."""
        if self.alone:
            return values
        return _total(values, of_all=False)

    def shared_gradient(self, loss: torch.Tensor) -> torch.Tensor:
        """The loss to differentiate: DistributedDataParallel takes the mean of gradients, and pooled losses want the sum."""
        return loss if self.alone else loss * self.rank.count

    def totals(self, values: list[float]) -> list[float]:
        """The sums of `values` over all processes, position by position, in double precision."""
        if self.alone or not values:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=self._device)
        distributed.all_reduce(tensor)
        return [float(value) for value in tensor.cpu()]

    def gathered(self, state: torch.Tensor) -> torch.Tensor:
        """The `state` (N; uint8, equally long everywhere) of each process, stacked in their order."""
        if self.alone:
            return state[None]
        mine = state.to(self._device)
        parts = [torch.empty_like(mine) for _ in range(self.rank.count)]
        distributed.all_gather(parts, mine)
        return torch.stack(parts).cpu()

    def told(self, data: bytes | None) -> bytes | None:
        """What the leading process gives as `data`."""
        if self.alone:
            return data
        size = torch.tensor([-1 if data is None else len(data)], device=self._device)
        distributed.broadcast(size, src=0)
        if int(size) < 0:
            return None
        content = bytearray(data) if self.leads and data else bytearray(int(size))
        if not content:
            return b""
        buffer = torch.frombuffer(content, dtype=torch.uint8).to(self._device)
        distributed.broadcast(buffer, src=0)
        return buffer.cpu().numpy().tobytes()

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn what torch raises when another process is gone into PeerLost."""
        try:
            yield
        except RuntimeError as problem:
            if self.alone or not _is_lost_peer(problem):
                raise
            raise PeerLost(
                f"rank {self.rank.index} of {self.rank.count} lost another process of its team: {problem}"
            ) from problem


def _is_lost_peer(problem: RuntimeError) -> bool:
    # gloo raises plain RuntimeErrors, and says where in its source
    return isinstance(problem, distributed.DistError) or "gloo" in str(problem)


class _Total(torch.autograd.Function):
    """The sum over all processes. `of_all`: what follows differs between processes, so the gradients are summed as well."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, of_all: bool) -> torch.Tensor:
        ctx.of_all = of_all
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        if ctx.of_all:
            gradient = gradient.clone()
            distributed.all_reduce(gradient)
        return gradient, None


def _total(values: torch.Tensor, *, of_all: bool) -> torch.Tensor:
    total: torch.Tensor = _Total.apply(values, of_all)  # type: ignore[no-untyped-call]
    return total


class PooledBatchNorm(nn.Module):
    """Batch normalisation over the patches of all processes, on any device (torch's own is for GPUs only)."""

    def __init__(self, base: _BatchNorm) -> None:
        super().__init__()
        self.eps, self.momentum = base.eps, base.momentum
        self.weight, self.bias = base.weight, base.bias
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(base, name))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (B, C, S) per channel: by the batch in training, else by the running statistics where there are any."""
        tracked: Any = self.running_mean
        if not self.training and tracked is not None:
            return nn.functional.batch_norm(x, tracked, self.running_var, self.weight, self.bias, False, 0.0, self.eps)  # type: ignore[arg-type]
        axes = [0, *range(2, x.ndim)]
        shape = [1, -1] + [1] * (x.ndim - 2)
        values = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        sums = torch.cat([values.sum(axes), values.new_tensor([values.numel() / x.shape[1]])])
        sums = _total(sums, of_all=True)
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = values - mean.view(shape)
        variance = _total(centred.square().sum(axes), of_all=True) / count
        if self.training and tracked is not None:
            self._track(mean.detach(), variance.detach() * count / (count - 1))
        out = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.weight is not None:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out.to(x.dtype)

    def _track(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        seen: Any = self.num_batches_tracked
        seen += 1
        step = 1.0 / float(seen) if self.momentum is None else self.momentum
        for name, value in (("running_mean", mean), ("running_var", variance)):
            kept = getattr(self, name)
            kept.lerp_(value.to(kept.dtype), step)


def _pool_batch_norm(module: nn.Module) -> nn.Module:
    if isinstance(module, nn.SyncBatchNorm | PooledBatchNorm):
        return module
    if isinstance(module, _BatchNorm):
        return PooledBatchNorm(module)
    for name, child in module.named_children():
        replaced = _pool_batch_norm(child)
        if replaced is not child:
            setattr(module, name, replaced)
    return module
