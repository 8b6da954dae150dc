"""Loading and splitting."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cifarsweep.data import catalog, tensor_file
from cifarsweep.data.dataset import Dataset, _shares, load, split
from cifarsweep.errors import DataError
from cifarsweep.spec.settings import Validation


@pytest.fixture
def dataset(root, contents) -> Dataset:
    tensor_file.write(catalog.path_of("mine", root), contents(train=400, test=20))
    return load("mine", root)


def holdout(fraction: float = 0.2, seed: int = 0) -> Validation:
    return Validation(split="holdout", fraction=fraction, seed=seed)


def rows(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


def test_load_gives_what_was_written(dataset, contents):
    made = contents(train=400, test=20)

    assert dataset.train_images.shape == (400, 3, 32, 32) and dataset.train_images.dtype == torch.uint8
    assert torch.equal(dataset.train_images, torch.from_numpy(made.train_images).permute(0, 3, 1, 2))
    assert torch.equal(dataset.test_labels, torch.from_numpy(made.test_labels))
    assert (dataset.classes, dataset.sha256) == (made.classes, tensor_file.digest_of(made))


def test_load_of_what_is_absent_or_damaged_says_what_to_do(root, contents):
    with pytest.raises(DataError, match="cifarsweep data download cifar10"):
        load("cifar10", root)

    made = contents()
    made.train_labels[3] = 2
    tensor_file.write(catalog.path_of("mine", root), made)
    with pytest.raises(DataError, match="a label names no class"):
        load("mine", root)


def test_writing_to_a_loaded_image_changes_no_file(root, dataset):
    dataset.train_images[0] = 0

    assert catalog.verify("mine", root).sha256 == dataset.sha256
    assert load("mine", root).train_images[0].any()


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="needs Linux's account of shared memory")
def test_images_are_shared_with_other_processes(root, contents):
    tensor_file.write(catalog.path_of("mine", root), contents(train=2_000))
    code = """
import sys, pathlib
from cifarsweep.data.dataset import load
images = load("mine", pathlib.Path(sys.argv[1])).train_images
images.sum()
for line in open("/proc/self/smaps"):
    if "mine.safetensors" in line: found = True
    elif line.startswith("Private_Dirty") and "found" in dir(): print(line.split()[1]); break
"""

    done = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=True)

    assert int(done.stdout) == 0


def test_test_split_is_all_there_is(dataset):
    parts = split(dataset, Validation())

    assert parts.train_images is dataset.train_images and parts.val_images is dataset.test_images


def test_holdout_divides_the_training_part_and_leaves_the_test_part_alone(dataset):
    parts = split(dataset, holdout(0.25))

    train, val = rows(parts.train_images), rows(parts.val_images)
    assert (len(train), len(val)) == (300, 100) and not train & val
    assert train | val == rows(dataset.train_images)
    assert parts.train_images.is_contiguous(memory_format=torch.channels_last)


def test_labels_stay_with_their_images(dataset):
    of = {
        image.numpy().tobytes(): int(label)
        for image, label in zip(dataset.train_images, dataset.train_labels, strict=True)
    }

    parts = split(dataset, holdout())

    for images, labels in ((parts.train_images, parts.train_labels), (parts.val_images, parts.val_labels)):
        assert [of[image.numpy().tobytes()] for image in images] == labels.tolist()


def test_holdout_is_chosen_by_its_seed_alone(dataset):
    torch.manual_seed(1)
    first = split(dataset, holdout(seed=5))
    split.cache_clear()
    torch.manual_seed(2)

    assert torch.equal(first.val_images, split(dataset, holdout(seed=5)).val_images)
    assert not torch.equal(first.val_images, split(dataset, holdout(seed=6)).val_images)


def digest(root, made, validation) -> str:
    split.cache_clear()
    tensor_file.write(catalog.path_of("mine", root), made)
    return split(load("mine", root), validation).digest


def exchange_two_labels(made) -> None:
    made.train_labels[:2] = made.train_labels[1::-1].copy()


def move_an_image(made) -> None:
    """Exchange two images of one class."""
    made.train_images[[0, 2]] = made.train_images[[2, 0]]


def change_a_test_label(made) -> None:
    made.test_labels[0] = 1 - made.test_labels[0]


@pytest.mark.parametrize("change", [exchange_two_labels, move_an_image, change_a_test_label])
@pytest.mark.parametrize("validation", [Validation(), holdout()])
def test_the_digest_of_a_split_tells_data_sets_apart_whose_statistics_are_equal(root, contents, change, validation):
    before = digest(root, contents(), validation)
    made = contents()
    change(made)

    assert digest(root, made, validation) != before
    assert digest(root, contents(), validation) == before


def test_the_digest_of_a_split_tells_held_out_parts_apart_whoever_drew_them(root, contents, monkeypatch):
    ways = [Validation(), holdout(0.2), holdout(0.25), holdout(0.2, seed=1)]
    found = [digest(root, contents(), way) for way in ways]
    draw = torch.randperm
    monkeypatch.setattr(torch, "randperm", lambda *given, **options: draw(*given, **options).flip(0))
    found.append(digest(root, contents(), holdout(0.2)))

    assert len(set(found)) == 5


def test_a_split_on_another_device_and_one_without_a_name_have_digests_too(dataset):
    parts = split(dataset, holdout())
    unnamed = replace(parts, sha256=None)
    others = unnamed.train_labels.flip(0)

    assert parts.to("cpu").digest == parts.digest
    assert len({parts.digest, unnamed.digest, replace(unnamed, train_labels=others).digest}) == 3


@settings(max_examples=200)
@given(counts=st.lists(st.integers(1, 300), min_size=1, max_size=20), fraction=st.floats(0.001, 0.999))
def test_every_class_gives_its_share(counts, fraction):
    shares = _shares(counts, fraction)

    assert all(0 <= share < count for share, count in zip(shares, counts, strict=True))
    assert all(abs(share - min(count * fraction, count - 1)) <= 1 for share, count in zip(shares, counts, strict=True))
    assert sum(shares) <= round(sum(counts) * fraction)
    if all(count * (1 - fraction) >= 2 for count in counts):
        assert sum(shares) == round(sum(counts) * fraction)


def test_holdout_of_nothing_is_refused(root, contents):
    tensor_file.write(catalog.path_of("tiny", root), contents(train=4, test=2))

    with pytest.raises(DataError, match=r"'tiny' is too small.*larger fraction"):
        split(load("tiny", root), holdout(0.01))


def test_statistics_are_those_of_the_training_part_to_the_last_digit(dataset):
    parts = split(dataset, holdout())

    pixels = parts.train_images.double().permute(1, 0, 2, 3).reshape(3, -1) / 255
    assert torch.equal(parts.mean, pixels.mean(1).float())
    assert torch.allclose(parts.std.double(), pixels.std(1, correction=0), rtol=1e-6)


def test_channel_without_spread_can_be_normalised(root, contents):
    made = contents()
    made.train_images[..., 1] = 77
    tensor_file.write(catalog.path_of("flat", root), made)

    parts = split(load("flat", root), Validation())

    assert parts.mean[1] == pytest.approx(77 / 255) and parts.std[1] == pytest.approx(1 / 255)


def test_statistics_do_not_depend_on_the_number_of_threads(dataset):
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        split.cache_clear()
        found.append(split(dataset, holdout()))
    torch.set_num_threads(before)

    assert torch.equal(found[0].mean, found[1].mean) and torch.equal(found[0].std, found[1].std)
