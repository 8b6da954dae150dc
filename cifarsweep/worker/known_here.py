"""What this machine knows of the images and the networks of trials that are planned. Imports no torch."""

from __future__ import annotations

from functools import cache

from cifarsweep.data.catalog import DataSetInfo, class_count, info
from cifarsweep.spec.network_flops import forward_flops
from cifarsweep.spec.settings import Settings
from cifarsweep.training.sharing import TrainingImages
from cifarsweep.worker.precheck import counted_flops, shape_of, training_images


class KnownHere:
    """Answers are remembered: the files of data sets are read once."""

    def __init__(self) -> None:
        self._info = cache(info)
        self._classes = cache(class_count)

    def images(self, settings: Settings) -> TrainingImages | None:
        """Return the training images; None where their data set is neither here nor built in."""
        here: DataSetInfo | None = self._info(settings.dataset)
        count = training_images(settings, here)
        return None if count is None else TrainingImages(count, here.sha256 if here else None)

    def flops(self, settings: Settings) -> int | None:
        """Return the FLOPs of one image, forward; of a model of timm only where `check_trainable` has counted it."""
        classes = self._classes(settings.dataset)
        shape = shape_of(settings, self._info(settings.dataset))
        if classes is None or shape is None:
            return None
        own = forward_flops(settings.model, classes, shape)
        return counted_flops(settings.model, classes, shape) if own is None else own
