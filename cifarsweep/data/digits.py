"""The embedded data set: scikit-learn's 1,797 handwritten digits (UCI Optical Recognition of Handwritten Digits)."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from cifarsweep.data.tensor_file import Contents
from cifarsweep.spec.image_shape import CIFAR

#: Every fifth image of a class is a test image.
_TEST_EVERY = 5
_BRIGHTEST = 16


def contents() -> Contents:
    """Return the digits as 32x32 RGB: each of the 8x8 grey values 0..16 becomes a 4x4 block of 0..255.

    Blocks instead of a smooth enlargement, and a split by counting instead of by a generator, so that every machine and
    every library version makes the same bytes.
    """
    digits = load_digits()
    grey = np.rint(digits.images * (255 / _BRIGHTEST)).astype(np.uint8)
    scale = CIFAR.side // grey.shape[1]
    images = np.repeat(np.repeat(grey, scale, axis=1), scale, axis=2)[..., None].repeat(CIFAR.channels, axis=3)
    labels = digits.target.astype(np.int64)
    index_in_class = np.empty_like(labels)
    for label in range(10):
        members = labels == label
        index_in_class[members] = np.arange(members.sum())
    test = index_in_class % _TEST_EVERY == _TEST_EVERY - 1
    return Contents(
        classes=tuple(str(label) for label in range(10)),
        source="scikit-learn load_digits",
        train_images=images[~test],
        train_labels=labels[~test],
        test_images=images[test],
        test_labels=labels[test],
    )
