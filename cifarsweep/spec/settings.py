"""The settings of one training run, with their defaults and limits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, Field, model_validator

from cifarsweep.spec.frozen import EVERY_FIELD, BatchSize, Count, CountOrZero, Fraction, Probability
from cifarsweep.spec.frozen import MOST_STEPS as MOST_STEPS
from cifarsweep.spec.frozen import Frozen as Frozen
from cifarsweep.spec.image_shape import LARGEST
from cifarsweep.spec.model_settings import ConvNet as ConvNet
from cifarsweep.spec.model_settings import Model as Model
from cifarsweep.spec.model_settings import ResNet as ResNet
from cifarsweep.spec.model_settings import ResNet9 as ResNet9
from cifarsweep.spec.model_settings import Timm as Timm
from cifarsweep.spec.model_settings import ViT as ViT
from cifarsweep.spec.optimizer_settings import AnyOptimizer as AnyOptimizer
from cifarsweep.spec.optimizer_settings import Lion as Lion
from cifarsweep.spec.optimizer_settings import Muon as Muon
from cifarsweep.spec.optimizer_settings import Optimizer as Optimizer
from cifarsweep.spec.optimizer_settings import OwnOptimizer as OwnOptimizer
from cifarsweep.spec.own import CODE
from cifarsweep.spec.own import CrossEntropy as CrossEntropy
from cifarsweep.spec.own import Loss as Loss
from cifarsweep.spec.own import Metrics as Metrics
from cifarsweep.spec.own import OwnAugmentation as OwnAugmentation
from cifarsweep.spec.own import OwnLoss as OwnLoss
from cifarsweep.spec.own import OwnModel as OwnModel
from cifarsweep.spec.types import NAME_PATTERN, Value

Share = Annotated[float, Field(ge=0, le=1)]
#: Pixels have whole values of 0..255: dividing by less than one step only makes large numbers.
Deviation = Annotated[float, Field(ge=1 / 255, le=1)]
#: The word for an unset setting in a file, since TOML has none.
NONE = "none"


class Validation(Frozen):
    """What accuracy is measured on: the test set, or a part of the training set held out by fraction and seed.

    A study file that leaves it out holds a tenth out; these defaults are what stored studies leave out.
    """

    split: Literal["test", "holdout"] = "test"
    """What is evaluated during training: the test set, or images held out of the training set."""
    fraction: Fraction = 0.2
    """Part of the training set that is held out (0.2 is the 4:1 split)."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Chooses the held-out images; the same for every trial, whatever the trial's own seed."""


class Normalize(Frozen):
    """What is subtracted from the pixels in 0..1, and what they are then divided by: each a number for each channel."""

    mean: tuple[Share, ...] | None = None
    """None: the means of the training images."""
    std: tuple[Deviation, ...] | None = None
    """None: the standard deviations of the training images."""

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean: give mean and std, or neither to use those of the training images")
        if self.mean is not None and self.std is not None and (len(self.mean), len(self.std)) not in ((1, 1), (3, 3)):
            raise ValueError("mean: give 3 numbers as mean and as std, or 1 for grey images: one for each channel")
        return self


class Schedule(Frozen):
    """The learning rate over the budget: a warm-up that rises linearly, then the named curve over what is left."""

    later: ClassVar[frozenset[str]] = frozenset({"warmup_start", "factors", "by"})

    name: Literal["constant", "step", "cosine", "linear"] = "constant"
    warmup_epochs: Annotated[float, Field(ge=0, le=MOST_STEPS)] = 0.0
    """Length of the warm-up in epochs; instead of `warmup_steps`."""
    warmup_steps: CountOrZero = 0
    """Length of the warm-up in steps; instead of `warmup_epochs`."""
    warmup_start: Annotated[float, Field(ge=0, lt=1)] | None = None
    """The part of the rate that the first step of the warm-up has; None lets W steps rise by 1 / (W + 1) each."""
    by: Literal["step", "epoch"] = "step"
    """`epoch`: the rate changes at the beginning of each epoch only, and a warm-up is of whole epochs."""
    milestones: tuple[Fraction, ...] = (0.5, 0.75)
    """`step` only: parts of the budget after which the rate is multiplied by `factor`."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """`step` only."""
    factors: tuple[Fraction, ...] = ()
    """`step` only: a factor for each of the milestones, in the place of the one `factor`."""
    final: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """`cosine` and `linear` only: the part of the rate that is left at the end."""

    phases: tuple[Annotated[str, Field(pattern=r"^[0-9]{1,9}-[0-9]{1,9} x[0-9]{1,9}(\.[0-9]{1,30})?$")], ...] = ()
    """The rate times a factor over a range of epochs: "50-100 x5" from the end of epoch 50 to the end of epoch 100."""

    def phase_ranges(self) -> list[tuple[int, int, float]]:
        """`phases` as (first epoch, last epoch, factor), epochs counted as training epochs done."""
        parts = [re.split("[- ]x?", phase) for phase in self.phases]
        return [(int(first), int(last), float(factor)) for first, last, factor in parts]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        reached = 0
        for first, last, factor in self.phase_ranges():
            if first < reached or last <= first or factor <= 0:
                raise ValueError(
                    f"phases: {first}-{last} x{factor:g} overlaps another phase, is empty or has no factor"
                )
            reached = last
        if self.warmup_epochs and self.warmup_steps:
            raise ValueError("warmup_steps: give warmup_epochs or warmup_steps, not both")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError("milestones: must rise")
        if self.factors and len(self.factors) != len(self.milestones):
            raise ValueError(
                f"factors: {len(self.factors)} factors for {len(self.milestones)} milestones; give one for each"
            )
        if self.by == "epoch" and (self.warmup_steps or self.warmup_epochs != int(self.warmup_epochs)):
            raise ValueError('by: "epoch" needs a warm-up of whole epochs; give warmup_epochs as a whole number')
        return self


class Augment(Frozen):
    """Random changes of the training images."""

    later: ClassVar[frozenset[str]] = frozenset({"vflip", "resized_crop", "mixup_prob", "own"})

    crop: Annotated[int, Field(ge=0, le=LARGEST // 2)] = 4
    """Zero padding in pixels before a random crop of the image's size; 0 leaves it out."""
    flip: bool = True
    """Mirror left-right with probability 1/2."""
    vflip: bool = False
    """Mirror top-bottom with probability 1/2."""
    resized_crop: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The smallest part of an image that a random crop takes, resized to the image's size (Szegedy et al. 2015).

    0 leaves it out; it needs `crop = 0`."""
    randaugment: Annotated[int, Field(ge=0, le=10)] = 0
    """Operations of RandAugment on each image (Cubuk et al. 2020); 0 leaves it out."""
    randaugment_magnitude: Annotated[int, Field(ge=0, le=30)] = 9
    """Strength of the operations of RandAugment."""
    cutout: Annotated[int, Field(ge=0, le=LARGEST)] = 0
    """Side of a square of zeros at a random place (DeVries & Taylor 2017); 0 leaves it out."""
    erasing: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Probability of random erasing (Zhong et al. 2020), as torchvision defines it."""
    mixup: Annotated[float, Field(ge=0)] = 0.0
    """Alpha of mixup (Zhang et al. 2018); 0 leaves it out."""
    cutmix: Annotated[float, Field(ge=0)] = 0.0
    """Alpha of cutmix (Yun et al. 2019); with mixup too, each batch takes one of them with probability 1/2."""
    mixup_prob: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The probability that a batch is mixed at all, by mixup or cutmix."""
    label_smoothing: Probability = 0.0
    """The part of each label that is spread over all classes (Szegedy et al. 2016)."""

    own: OwnAugmentation | None = None
    """A change of the user's own, after all others."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.resized_crop and self.crop:
            raise ValueError("resized_crop: takes the place of crop; set crop = 0, or leave resized_crop out")
        if self.mixup_prob < 1 and not (self.mixup or self.cutmix):
            raise ValueError("mixup_prob: nothing is mixed; set mixup or cutmix, or leave mixup_prob out")
        return self


class EarlyStop(Frozen):
    """Stop where the validation accuracy has not risen for `patience` evaluations; 0 trains the whole budget."""

    patience: CountOrZero = 0
    """Evaluations without a rise of the validation accuracy after which training stops; 0 never stops."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """What counts as a rise, in units of accuracy."""


class Settings(Frozen):
    """One training run but for its seed. Exactly one of `epochs` and `steps` is the budget."""

    later: ClassVar[frozenset[str]] = frozenset({"normalize", "loss", "metrics", "devices", "batch_norm"})

    dataset: Annotated[str, Field(pattern=f"^{NAME_PATTERN.pattern}$")] = "cifar10"
    """A data set by its name, as `cifarsweep data list` shows them."""
    validation: Validation = Validation()
    normalize: Normalize = Normalize()
    model: Model = ConvNet()
    optimizer: AnyOptimizer = Optimizer()
    schedule: Schedule = Schedule()
    augment: Augment = Augment()
    loss: Loss = CrossEntropy()
    metrics: Metrics = Metrics()
    early_stop: EarlyStop = EarlyStop()
    keep_best: bool = False
    """Keep the weights of the best validation accuracy beside the last ones."""
    batch_size: BatchSize = 128
    """Images of a step."""
    epochs: Count | None = None
    """The budget in epochs; instead of `steps`."""
    steps: Count | None = None
    """The budget in steps; instead of `epochs`."""
    log_every: Count = 50
    """Steps between two rows of training metrics."""
    eval_every: Count | None = None
    """Steps between two evaluations; once an epoch where it is not given. The last step is always evaluated."""
    determinism: Literal["exact", "fast"] = "exact"
    """`exact`: the same bits again on the same hardware and software."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto`: bfloat16 autocast on a GPU of compute capability 8.0 or later, else float32, which is never TF32."""
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    """CPU threads of the training step. Part of the settings because 1 and 2 threads differ in the last bits."""
    devices: Annotated[int, Field(ge=1, le=64)] = 1
    """GPUs that share each batch, in one process each; on a processor as many processes of `threads` threads.

    Part of the settings because another number adds up gradients in another order, and batch norm measures other
    images. Above 1 no step is a CUDA graph."""
    batch_norm: Literal["device", "synchronised"] = "device"
    """`devices` above 1 only: what batch norm measures, each device its own part of the batch, or all the whole one."""

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("epochs: give exactly one of epochs and steps")
        schedule = self.schedule
        if self.epochs is not None and schedule.warmup_epochs >= self.epochs:
            raise ValueError(f"schedule.warmup_epochs: {schedule.warmup_epochs} leaves nothing of {self.epochs} epochs")
        if self.steps is not None and schedule.warmup_steps >= self.steps:
            raise ValueError(f"schedule.warmup_steps: {schedule.warmup_steps} leaves nothing of {self.steps} steps")
        if self.batch_size < self.devices:
            raise ValueError(
                f"devices: {self.devices} devices can't share a batch of {self.batch_size}; choose at most "
                f"{self.batch_size}, or a larger batch_size"
            )
        return self


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn nested tables into one table of dotted keys: `{"a": {"b": 1}}` becomes `{"a.b": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def flat_settings(settings: Settings) -> dict[str, Value]:
    """Return every setting by its dotted key, lists as tuples."""
    return flatten(settings.model_dump(context=EVERY_FIELD))


def setting_keys() -> list[str]:
    """Return every dotted key of a setting that a file may set, but for keyword arguments of own parts."""
    return list(dict.fromkeys(key for key, _ in _keys(Settings)))


def nested_models(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that an annotation names at any depth: one table, or several families."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in nested_models(inner)]


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        families = nested_models(field.annotation)
        for family in families:
            yield from _keys(family, f"{prefix}{name}.")
        if not families and name != CODE:
            yield f"{prefix}{name}", field.annotation


_BUDGETS = ("epochs", "steps")
#: Optional settings, for which a file may write `NONE`. A budget is not: one of the two is always given.
OPTIONAL_KEYS = frozenset(
    key for key, annotation in _keys(Settings) if type(None) in get_args(annotation) and key not in _BUDGETS
)
