"""The settings of one training run: frozen, strict, with every default in sight."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator

from cifarsweep.spec.words import NAME_PATTERN, Value

Fraction = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]


class Frozen(BaseModel):
    """A record that refuses unknown keys, silent conversions, nan and infinity."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
        use_attribute_docstrings=True,
    )


class Validation(Frozen):
    """What accuracy is measured on: the test set, or a part of the training set held out by fraction and seed."""

    split: Literal["test", "holdout"] = "test"
    fraction: Fraction = 0.2
    """Part of the training set that is held out (0.2 is the 4:1 split)."""
    seed: NonNegativeInt = 0
    """Chooses the held-out images; the same for every trial, whatever the trial's own seed."""


class ConvNet(Frozen):
    """Stages of conv-norm-relu, each but the first after a 2x2 max-pool; then a global mean and a linear layer."""

    name: Literal["convnet"] = "convnet"
    widths: Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=6)] = (32, 64, 128, 256, 256)
    """Channels of each stage."""
    convs_per_stage: Annotated[int, Field(ge=1, le=16)] = 2
    skip: bool = False
    """Add each stage's input to its output (through a 1x1 convolution where the widths differ)."""
    norm: Literal["batch", "layer", "group", "instance", "none"] = "batch"
    norm_groups: PositiveInt = 8
    """Groups of `norm = "group"`."""
    kernel_size: Annotated[int, Field(ge=1, le=11)] = 3
    dropout: Probability = 0.0
    """Probability of zeroing a feature before the linear layer."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size: {self.kernel_size} is even; use an odd size (1, 3, 5, 7, 9 or 11)")
        misfits = [width for width in self.widths if width % self.norm_groups]
        if self.norm == "group" and misfits:
            raise ValueError(f"norm_groups: {self.norm_groups} groups do not divide the widths {misfits}")
        if self.norm == "instance" and len(self.widths) > 5:
            raise ValueError("norm: instance norm needs more than one pixel, so at most 5 stages of widths")
        return self


class Optimizer(Frozen):
    """AdamW (Loshchilov & Hutter 2019) or SGD with momentum, as torch.optim defines them."""

    name: Literal["adamw", "sgd"] = "adamw"
    lr: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    momentum: Probability = 0.9
    """SGD only."""
    nesterov: bool = False
    """SGD only."""
    beta1: Probability = 0.9
    """AdamW only."""
    beta2: Probability = 0.999
    """AdamW only."""

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov: needs momentum > 0")
        return self


class Schedule(Frozen):
    """The learning rate over the budget: a warm-up that rises linearly, then the named curve over what is left."""

    name: Literal["constant", "step", "cosine", "linear"] = "constant"
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    warmup_steps: NonNegativeInt = 0
    milestones: tuple[Fraction, ...] = (0.5, 0.75)
    """`step` only: parts of the budget after which the rate is multiplied by `factor`."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """`step` only."""
    final: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """`cosine` and `linear` only: the part of the rate that is left at the end."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.warmup_epochs and self.warmup_steps:
            raise ValueError("warmup_steps: give warmup_epochs or warmup_steps, not both")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError("milestones: must rise")
        return self


class Augment(Frozen):
    """Random changes of the training images."""

    crop: Annotated[int, Field(ge=0, le=16)] = 4
    """Zero padding in pixels before a random 32x32 crop; 0 leaves it out."""
    flip: bool = True
    """Mirror left-right with probability 1/2."""


class Settings(Frozen):
    """One training run but for its seed. Exactly one of `epochs` and `steps` is the budget."""

    dataset: Annotated[str, Field(pattern=f"^{NAME_PATTERN.pattern}$")] = "cifar10"
    validation: Validation = Validation()
    model: ConvNet = ConvNet()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    augment: Augment = Augment()
    batch_size: PositiveInt = 128
    epochs: PositiveInt | None = None
    steps: PositiveInt | None = None
    log_every: PositiveInt = 50
    """Steps between two rows of training metrics."""
    eval_every: PositiveInt | None = None
    """Steps between two evaluations; once an epoch where it is not given. The last step is always evaluated."""
    determinism: Literal["exact", "fast"] = "exact"
    """`exact`: the same bits again on the same hardware and software."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto`: bfloat16 autocast on a GPU, float32 on a CPU."""
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    """CPU threads of the training step. Part of the settings because 1 and 2 threads differ in the last bits."""

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("epochs: give exactly one of epochs and steps")
        schedule = self.schedule
        if self.epochs is not None and schedule.warmup_epochs >= self.epochs:
            raise ValueError(f"schedule.warmup_epochs: {schedule.warmup_epochs} leaves nothing of {self.epochs} epochs")
        if self.steps is not None and schedule.warmup_steps >= self.steps:
            raise ValueError(f"schedule.warmup_steps: {schedule.warmup_steps} leaves nothing of {self.steps} steps")
        return self


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one table of dotted keys: `{"a": {"b": 1}}` becomes `{"a.b": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def nest(flat: dict[str, Any]) -> dict[str, Any]:
    """Undo `flatten`. Raises ValueError where a key is a table and a value at once."""
    tree: dict[str, Any] = {}
    for dotted, value in flat.items():
        *parents, leaf = dotted.split(".")
        table = tree
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise ValueError(f"{dotted}: {parent!r} is a value, not a table")
        table[leaf] = value
    return tree


def flat_settings(settings: Settings) -> dict[str, Value]:
    """Every setting by its dotted key, lists as tuples."""
    return flatten(settings.model_dump())


def setting_keys(model: type[BaseModel] = Settings, prefix: str = "") -> list[str]:
    """Every dotted key that a setting can have."""
    keys: list[str] = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            keys += setting_keys(inner, f"{prefix}{name}.")
        else:
            keys.append(f"{prefix}{name}")
    return keys
