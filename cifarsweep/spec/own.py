"""Parts of a training that are the user's own: which one, of what code, with which keyword arguments."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from cifarsweep.spec.frozen import Frozen
from cifarsweep.spec.metrics import CALIBRATION, TOP5
from cifarsweep.spec.types import Value

#: Texts are names, so that no code can hide in one that a class of the user evaluates.
_TEXT = re.compile(r"[A-Za-z0-9_.:+ -]{0,100}")
_LONGEST = 1000
Reference = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,99}:[A-Za-z_][A-Za-z0-9_]{0,99}$")]
#: The digest of all files of `[code]`, or the name, version and digest of a package; filled in by `create`.
CodeDigest = Annotated[str, Field(pattern=r"^([A-Za-z0-9._-]{1,100} [A-Za-z0-9.+!_-]{1,100} )?[0-9a-f]{64}$|^$")]
#: The key of every own part that a study file leaves to us.
CODE = "code"


class OwnPart(Frozen):
    """A part of the user's own code. All further keys are keyword arguments."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Any]

    name: Reference
    """`nets:Wide` for the file `nets.py` of `[code]`; `PACKAGE:NAME` for an entry point of an installed package."""
    code: CodeDigest = ""
    """What the code was when the study was created; `create` fills it in."""

    @property
    def arguments(self) -> Mapping[str, Value]:
        """The keyword arguments, by name."""
        return dict(self.__pydantic_extra__ or {})

    @model_validator(mode="after")
    def _arguments_are_plain(self) -> Self:
        given = self.__pydantic_extra__ or {}
        # Sorted, as in the database: the order of keyword arguments means nothing.
        plain = {key: _plain(key, given[key]) for key in sorted(given)}
        given.clear()
        given.update(plain)
        return self


def _plain(key: str, value: object) -> Value:
    """Return the value of a keyword argument. Raises ValueError if it is not a plain one."""
    if not key.isidentifier() or len(key) > 64:
        raise ValueError(f"{key[:64]}: is no name of a keyword argument")
    if isinstance(value, list | tuple) and len(value) <= _LONGEST:
        return tuple(_scalar(key, item) for item in value)
    return _scalar(key, value)


def _scalar(key: str, value: object) -> bool | int | float | str:
    if isinstance(value, bool) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, str) and _TEXT.fullmatch(value):
        return value
    raise ValueError(
        f"{key}: must be a finite number, true, false, a name of at most 100 letters, digits and . : + - _, or a list "
        f"of them, not {repr(value)[:80]}"
    )


class OwnModel(OwnPart):
    """A network of the user's own code: images (N, channels, side, side) to logits (N, classes)."""


class OwnLoss(OwnPart):
    """A loss of the user's own code: a function of logits and labels, or a class whose objects are one.

    Labels are whole numbers (N,), or probabilities (N, classes) where images are mixed; the loss is their mean.
    """


class CrossEntropy(Frozen):
    """Cross entropy, with `augment.label_smoothing`."""

    name: Literal["cross_entropy"] = "cross_entropy"


def _loss_family(loss: Any) -> str:
    name = loss.get("name", "cross_entropy") if isinstance(loss, dict) else getattr(loss, "name", "")
    return (
        "ownloss" if isinstance(name, str) and ":" in name else "crossentropy" if name == "cross_entropy" else str(name)
    )


#: A loss, told apart by its name.
Loss = Annotated[
    Annotated[CrossEntropy, Tag("crossentropy")] | Annotated[OwnLoss, Tag("ownloss")], Discriminator(_loss_family)
]


class OwnAugmentation(OwnPart):
    """A change of training images by the user's own code, after all others: a function, or a class of such objects.

    It gets a normalised batch (N, channels, side, side) and returns another one; it draws from torch's generators.
    """


class Metrics(Frozen):
    """What is measured at each evaluation beside loss and accuracy; nothing of it costs anything where it is off."""

    top5: bool = False
    """The part of images whose class is among the five likeliest: `val/top5_accuracy`."""
    ece: bool = False
    """The expected calibration error of 15 bins (Guo et al. 2017): `val/calibration_error`."""
    own: Annotated[tuple[Reference, ...], Field(max_length=20)] = ()
    """Functions of logits (N, classes) and labels (N,) of all images, by name: `nets:spread` measures `val/spread`."""
    code: Annotated[str, Field(max_length=4000, pattern=r"^[A-Za-z0-9.+!_; -]*$")] = ""
    """What their code was when the study was created; `create` fills it in."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [own_name(reference) for reference in self.own]
        if taken := [name for name in names if name in _TAKEN or names.count(name) > 1]:
            raise ValueError(f"own: there is another metric {taken[0]!r}; give the function another name")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """What is measured, without `val/` or `test/` in front."""
        built_in = (TOP5,) * self.top5 + (CALIBRATION,) * self.ece
        return (*built_in, *map(own_name, self.own))


def own_name(reference: str) -> str:
    """Return the name of a metric of the user's own."""
    return reference.partition(":")[2]


#: Names that an own metric can't have.
_TAKEN = ("loss", "accuracy", "images", "largest_class", "confusion", TOP5, CALIBRATION)
