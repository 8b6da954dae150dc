"""The settings of the optimizers, with their defaults and limits."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import Discriminator, Field, Tag, model_validator

from cifarsweep.spec.frozen import BatchSize, Frozen, Probability
from cifarsweep.spec.own import OwnPart

_Rate = Annotated[float, Field(gt=0)]
_Decay = Annotated[float, Field(ge=0)]
_Clip = Annotated[float, Field(gt=0)]
_Scaling = Literal["none", "linear", "sqrt"]


class Optimizer(Frozen):
    """AdamW (Loshchilov & Hutter 2019), Adam (Kingma & Ba 2015) or SGD with momentum, as torch.optim defines them."""

    later: ClassVar[frozenset[str]] = frozenset({"amsgrad"})

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: _Rate = 1e-3
    """The learning rate, after the warm-up and before the schedule lowers it."""
    scaling: _Scaling = "none"
    """Multiply the rate by batch_size / base_batch, or by its square root (Goyal et al. 2017; Krizhevsky 2014)."""
    base_batch: BatchSize = 128
    """The batch size for which `lr` is meant; only `scaling` reads it."""
    weight_decay: _Decay = 1e-2
    """Decoupled from the gradient in AdamW, added to it in Adam and SGD."""
    decay_norms: bool = True
    """Whether weight decay reaches norms and biases too."""
    clip: _Clip | None = None
    """Scale gradients down to this norm, all parameters together."""
    momentum: Probability = 0.9
    """SGD only."""
    nesterov: bool = False
    """SGD only."""
    beta1: Probability = 0.9
    """Adam and AdamW only."""
    beta2: Probability = 0.999
    """Adam and AdamW only."""
    amsgrad: bool = False
    """Adam and AdamW only: divide by the largest second moment so far (Reddi et al. 2018)."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.amsgrad and self.name == "sgd":
            raise ValueError('amsgrad: sgd has no second moment; leave amsgrad out, or choose name = "adamw" or "adam"')
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov: needs momentum > 0")
        return self


class Muon(Frozen):
    """Muon (Jordan et al. 2024) as timm defines it; AdamW for norms, biases and what is too small or too narrow for it.

    Its updates have the size of AdamW's (Liu et al. 2025), so that rates and weight decays of AdamW fit. With
    `nesterov` AdamW has Nesterov's momentum too (Dozat 2016).
    """

    name: Literal["muon"]
    lr: _Rate = 1e-3
    """The learning rate, after the warm-up and before the schedule lowers it."""
    scaling: _Scaling = "none"
    """Multiply the rate by batch_size / base_batch, or by its square root."""
    base_batch: BatchSize = 128
    """The batch size for which `lr` is meant; only `scaling` reads it."""
    weight_decay: _Decay = 1e-2
    """Decoupled from the gradient."""
    decay_norms: bool = True
    """Whether weight decay reaches norms and biases too."""
    clip: _Clip | None = None
    """Scale gradients down to this norm, all parameters together."""
    momentum: Probability = 0.95
    """The part of the momentum that a step keeps."""
    nesterov: bool = True
    """Look ahead along the momentum, in AdamW too."""
    beta1: Probability = 0.9
    """Of AdamW."""
    beta2: Probability = 0.95
    """Of AdamW."""


class Lion(Frozen):
    """Lion (Chen et al. 2023) as timm defines it: the sign of a momentum."""

    name: Literal["lion"]
    lr: _Rate = 1e-4
    """The learning rate, after the warm-up and before the schedule lowers it."""
    scaling: _Scaling = "none"
    """Multiply the rate by batch_size / base_batch, or by its square root."""
    base_batch: BatchSize = 128
    """The batch size for which `lr` is meant; only `scaling` reads it."""
    weight_decay: _Decay = 1e-1
    """Decoupled from the gradient."""
    decay_norms: bool = True
    """Whether weight decay reaches norms and biases too."""
    clip: _Clip | None = None
    """Scale gradients down to this norm, all parameters together."""
    beta1: Probability = 0.9
    """Weighs the momentum in the direction of a step."""
    beta2: Probability = 0.99
    """The part of the momentum that a step keeps."""


class OwnOptimizer(OwnPart):
    """An optimizer of the user's own code, or any of torch's: `torch.optim:NAdam`, which needs no code.

    Its class gets the parameters, the rate as `lr`, and the keyword arguments.
    """

    lr: _Rate = 1e-3
    """The learning rate, after the warm-up and before the schedule lowers it."""
    scaling: _Scaling = "none"
    """Multiply the rate by batch_size / base_batch, or by its square root."""
    base_batch: BatchSize = 128
    """The batch size for which `lr` is meant; only `scaling` reads it."""
    clip: _Clip | None = None
    """Scale gradients down to this norm, all parameters together."""


def _family(optimizer: Any) -> str:
    name = optimizer.get("name", "adamw") if isinstance(optimizer, dict) else getattr(optimizer, "name", "")
    if isinstance(name, str) and ":" in name:
        return "ownoptimizer"
    return "optimizer" if name in get_args(Optimizer.model_fields["name"].annotation) else str(name)


#: An optimizer, told apart by its name.
AnyOptimizer = Annotated[
    Annotated[Optimizer, Tag("optimizer")]
    | Annotated[Muon, Tag("muon")]
    | Annotated[Lion, Tag("lion")]
    | Annotated[OwnOptimizer, Tag("ownoptimizer")],
    Discriminator(_family),
]
