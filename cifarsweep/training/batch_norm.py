"""Batch norm that measures the whole batch of a team, as `torch.nn.SyncBatchNorm` does, on processors too.

It takes the place of `torch.nn.functional.batch_norm` while a batch is trained, so that every module that calls this
has it, whatever its class. Sums over the processes are in the order of their ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from cifarsweep.training.parallel import Team


class Synchronised(TorchFunctionMode):
    """Inside of its block, batch norm of training measures the parts of all processes together."""

    def __init__(self, team: Team) -> None:
        super().__init__()
        self._team = team

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is F.batch_norm:
            return self._batch_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _batch_norm(
        self,
        images: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        """Do what `torch.nn.functional.batch_norm` does, in training over the images of all processes."""
        if not training:
            plain: Tensor = F.batch_norm(images, running_mean, running_var, weight, bias, False, momentum, eps)
            return plain
        normalised, mean, var, count = _Normalised.apply(images, self._team, eps)
        if running_mean is not None and running_var is not None:
            with torch.no_grad():
                # As torch does, the running variance is the unbiased one.
                running_mean.lerp_(mean.to(running_mean.dtype), momentum)
                running_var.lerp_((var * (count / (count - 1))).to(running_var.dtype), momentum)
        shape = (1, -1, *(1 for _ in images.shape[2:]))
        scaled: Tensor = normalised if weight is None else normalised * weight.view(shape)
        return (scaled if bias is None else scaled + bias.view(shape)).to(images.dtype)


class _Normalised(torch.autograd.Function):
    """`(x - mean) / sqrt(var + eps)` of each channel, and its gradient (Ioffe & Szegedy 2015, arXiv 1502.03167)."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, team: Team, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x, axes, shape = _float(images), [0, *range(2, images.ndim)], (1, -1, *(1 for _ in images.shape[2:]))
        var, mean = torch.var_mean(x, axes, correction=0)
        here = torch.full_like(mean, x.numel() // len(mean))
        # Chan, Golub & LeVeque 1979: the deviations of the parts from their own means, and of these from the mean.
        counts, means, variances = team.gather(torch.stack((here, mean, var)).double()).unbind(1)
        count = counts.sum(0)
        mean_of_all = (counts * means).sum(0) / count
        var_of_all = (counts * (variances + (means - mean_of_all).square())).sum(0) / count
        inverse = (var_of_all + eps).rsqrt().to(x.dtype)
        normalised = (x - mean_of_all.to(x.dtype).view(shape)) * inverse.view(shape)
        ctx.save_for_backward(normalised, inverse, count)
        ctx.team, ctx.axes, ctx.shape, ctx.dtype = team, axes, shape, images.dtype
        ctx.mark_non_differentiable(mean_of_all, var_of_all, count)
        return normalised, mean_of_all, var_of_all, count

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor, None, None]:
        normalised, inverse, count = ctx.saved_tensors
        sums = torch.stack((gradient.sum(ctx.axes), (gradient * normalised).sum(ctx.axes)))
        along, across = (ctx.team.total(sums.double()) / count).to(gradient.dtype)
        left = gradient - along.view(ctx.shape) - normalised * across.view(ctx.shape)
        return (left * inverse.view(ctx.shape)).to(ctx.dtype), None, None


def _float(images: Tensor) -> Tensor:
    """Return the images in float32 at least: the sums of bfloat16 would have no digits left."""
    return images if images.dtype == torch.float64 else images.float()
