"""An interrupted trial equals, to the last bit, the one that nobody disturbed."""

import errno
import hashlib
import itertools
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recipes import FAMILIES, OPTIMIZERS, RECIPES, SGD, change
from stripes import CLASSES, TINY, bits, finished, rows, stop_after

from cifarsweep.checkpoints import folder as folder_module
from cifarsweep.checkpoints.folder import CheckpointFolder
from cifarsweep.spec.settings import ConvNet, ResNet, ResNet9
from cifarsweep.spec.types import CheckpointRef
from cifarsweep.training.events import Finished, Rejected, Saved, SaveFailed, Started, Stopped
from cifarsweep.training.loop import train
from cifarsweep.training.serialization import weights_sha256

STEPS_2 = {"epochs": None, "steps": 2}
BATCH_NORM_OFF = TINY.model_copy(update={"model": ConvNet(widths=(4,), norm="group", norm_groups=2, dropout=0.5)})


def same(attempts, whole):
    assert {key: value for events in attempts for key, value in bits(events).items()} == bits(whole)
    assert finished(attempts[-1]).result.weights_sha256 == finished(whole).result.weights_sha256


def interrupted_equals_whole(bench, settings, polls):
    whole, folder = bench.undisturbed(settings), bench.folder()
    first = bench.events(settings, folder=folder, should_stop=stop_after(polls))
    assert isinstance(first[-1], Stopped)
    torch.manual_seed(99)  # the second attempt is another process
    second = bench.events(settings, folder=folder, resume=(first[-2].checkpoint,))
    assert second[0].start_step == first[-1].step
    same([first, second], whole)
    return finished(whole), finished(second)


@pytest.mark.parametrize("name", RECIPES)
@settings(max_examples=4)
@given(polls=st.integers(0, 17))
def test_stopped_anywhere_and_resumed(bench, name, polls):
    # 12 steps, 4 rows and 2 evaluations of one batch each: 18 times it is asked whether to stop
    whole, second = interrupted_equals_whole(bench, RECIPES[name], polls)
    if RECIPES[name].keep_best:
        kept = [torch.load(each.checkpoint.path, weights_only=True)["watch"] for each in (whole, second)]
        assert weights_sha256(kept[0].pop("weights")) == weights_sha256(kept[1].pop("weights"))
        assert kept[0] == kept[1]


def killed_equals_whole(bench, settings, events):
    whole, folder = bench.undisturbed(settings), bench.folder()
    attempt = train(bench.run(settings, folder=folder, save_every_s=0.0))
    first = list(itertools.islice(attempt, events))
    attempt.close()
    torch.manual_seed(99)  # the second attempt is another process
    saved = [event.checkpoint for event in first if isinstance(event, Saved)]
    second = bench.events(settings, folder=folder, resume=saved[-1:])
    kept = {key: value for key, value in bits(first).items() if key[1] <= second[0].start_step}
    assert kept | bits(second) == bits(whole)
    assert finished(second).result.weights_sha256 == finished(whole).result.weights_sha256


def test_a_first_checkpoint_that_is_to_come_soon_comes_once(bench):
    events = bench.events(first_save_s=0.0)

    steps = [event.checkpoint.step for event in events if isinstance(event, Saved)]
    assert steps == [0, finished(events).result.step]
    assert bits(events) == bits(bench.undisturbed(TINY))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=2)
@given(events=st.integers(1, 11))
def test_every_family_killed_anywhere_with_every_optimizer(narrow, family, optimizer, events):
    if family == "timm":
        pytest.importorskip("timm", reason="the extra `timm` is not installed")
    # 6 steps in two epochs: a start, 7 checkpoints and 3 rows are 11 events before the last
    settings = change(model=FAMILIES[family], optimizer=OPTIMIZERS[optimizer], batch_size=8)
    killed_equals_whole(narrow, settings, events)


@pytest.mark.parametrize("model", [ResNet9(), ResNet(name="resnet18")], ids=lambda model: model.name)
def test_families_that_come_large_resume(bench, model):
    bench.split = replace(bench.split, val_images=bench.split.val_images[:4], val_labels=bench.split.val_labels[:4])
    interrupted_equals_whole(bench, SGD.model_copy(update={"model": model, "batch_size": 4} | STEPS_2), polls=1)


def test_interrupted_again_and_again(bench):
    whole, folder, attempts, resume = bench.events(), bench.folder(), [], ()
    while not attempts or not isinstance(attempts[-1][-1], Finished):
        attempts.append(bench.events(folder=folder, resume=resume, should_stop=stop_after(2)))
        saved = [event.checkpoint for event in attempts[-1] if isinstance(event, Saved)]
        resume = (*reversed(saved), *resume)[:2]
    assert len(attempts) > 5
    same(attempts, whole)


def test_a_stop_inside_an_evaluation_repeats_it_whole(bench):
    whole, folder = bench.events(), bench.folder()
    # asked before 4 steps, the row of step 4, 2 steps and the row of step 6; the ninth time is inside its evaluation
    first = bench.events(folder=folder, should_stop=stop_after(8))
    assert first[-1] == Stopped(6)
    assert not any(step == 6 for _, step in rows(first))
    second = bench.events(folder=folder, resume=(first[-2].checkpoint,))
    assert rows(second)["val/accuracy", 6] == rows(whole)["val/accuracy", 6]
    same([first, second], whole)


def test_elapsed_time_is_summed_over_attempts(bench):
    folder = bench.folder()
    first = bench.events(folder=folder, should_stop=stop_after(9))
    second = bench.events(folder=folder, resume=(first[-2].checkpoint,))
    seconds = [
        *(rows(first)["elapsed_s", step] for step in (4,)),
        *(rows(second)["elapsed_s", step] for step in (8, 12)),
    ]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0


def test_a_trial_that_was_done_but_not_recorded_gives_its_result_again(bench):
    run = bench.run()
    first = list(train(run))
    second = bench.events(folder=run.folder, resume=(finished(first).checkpoint,))
    assert second[0].start_step == 12
    assert finished(second).result == finished(first).result
    assert rows(second) == {}


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(path):
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 2] ^= 1
    path.write_bytes(contents)


@pytest.fixture
def interrupted(bench):
    """An attempt that saved at each step, kept two checkpoints and was then lost."""
    folder = bench.folder()
    attempt = train(bench.run(folder=folder, save_every_s=0.0))
    saved = []
    for event in attempt:
        if isinstance(event, Saved):
            saved.append(event.checkpoint)
        if len(saved) == 9:
            attempt.close()
    return folder, tuple(reversed(saved[-2:]))


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, Path.unlink])
def test_a_broken_checkpoint_falls_back_to_the_one_before(bench, interrupted, damage):
    folder, refs = interrupted
    damage(Path(refs[0].path))
    events = bench.events(folder=folder, resume=refs)
    assert isinstance(events[0], Rejected)
    assert events[0].path == refs[0].path
    assert events[1].start_step == refs[1].step > 0
    assert finished(events).result.weights_sha256 == finished(bench.events()).result.weights_sha256


def test_two_broken_checkpoints_fall_back_to_the_start(bench, interrupted):
    folder, refs = interrupted
    for ref in refs:
        flip_a_bit(Path(ref.path))
    events = bench.events(folder=folder, resume=refs)
    assert [type(event) for event in events[:3]] == [Rejected, Rejected, Started]
    assert events[2].start_step == 0
    same([events], bench.events())


@pytest.mark.parametrize("other", [{"seed": 1}, {"settings": SGD}, {"settings": BATCH_NORM_OFF}])
def test_a_checkpoint_of_another_trial_is_not_used(bench, interrupted, other):
    folder, refs = interrupted
    events = bench.events(folder=folder, resume=refs[:1], **other)
    assert "belongs to another trial" in events[0].reason
    assert events[1].start_step == 0


def test_a_checkpoint_of_other_images_is_not_used(bench, interrupted):
    folder, refs = interrupted
    bench.split = replace(bench.split, mean=bench.split.mean + 0.1)
    assert isinstance(bench.events(folder=folder, resume=refs[:1])[0], Rejected)


def with_labels(split, part):
    """The same images, two of whose labels were exchanged."""
    labels = getattr(split, part).clone()
    labels[:2] = labels[:2].flip(0)
    return replace(split, **{part: labels})


@pytest.mark.parametrize("part", ["train_labels", "val_labels"])
def test_a_checkpoint_of_other_labels_is_not_used(bench, interrupted, part):
    folder, refs = interrupted
    bench.split = with_labels(bench.split, part)

    events = bench.events(folder=folder, resume=refs)

    assert [type(event) for event in events[:3]] == [Rejected, Rejected, Started]
    assert events[2].start_step == 0
    assert "other images or labels" in events[0].reason
    same([events], bench.events())


def as_earlier_versions_wrote_it(ref, split, *, digest):
    """The checkpoint with the fingerprint of whole settings and a digest of the images, or statistics of them."""
    saved = torch.load(ref.path, weights_only=True)
    if digest:
        data_signature = (saved["data"],)
    else:
        del saved["data"]
        data_signature = (len(split.train_labels), len(split.val_labels), *split.mean.tolist(), *split.std.tolist())
    parts = (TINY.model_dump_json(exclude_defaults=True), 0, CLASSES, "cpu", *data_signature)
    saved["trial"] = hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()
    torch.save(saved, ref.path)
    written = Path(ref.path).read_bytes()
    return replace(ref, sha256=hashlib.sha256(written).hexdigest(), bytes=len(written))


@pytest.mark.parametrize("digest", [True, False])
def test_a_checkpoint_of_an_earlier_version_goes_on_where_its_images_match(bench, interrupted, digest):
    folder, refs = interrupted
    old = as_earlier_versions_wrote_it(refs[0], bench.split, digest=digest)

    events = bench.events(folder=folder, resume=(old,))

    assert events[0].start_step == old.step > 0
    assert finished(events).result.weights_sha256 == finished(bench.events()).result.weights_sha256
    bench.split = replace(bench.split, mean=bench.split.mean + 0.1)
    assert isinstance(bench.events(folder=folder, resume=(old,))[0], Rejected)


def test_a_full_disk_does_not_stop_training(bench, monkeypatch):
    attempt = train(bench.run(save_every_s=0.0))
    events = [next(event for event in attempt if isinstance(event, Saved))]

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folder_module.os, "fsync", full)
    events += attempt
    failures = [event for event in events if isinstance(event, SaveFailed)]
    assert len(failures) > 3
    assert "No space left on device" in failures[0].reason
    assert finished(events).checkpoint is None
    assert Path(events[0].checkpoint.path).is_file()  # the last good one stays
    assert finished(events).result.weights_sha256 == finished(bench.events()).result.weights_sha256


CHILD = """
import sys
from pathlib import Path

sys.path.insert(0, {tests!r})
from stripes import CLASSES, TINY, make_split
from cifarsweep.training.events import Metrics, Saved
from cifarsweep.checkpoints.folder import CheckpointFolder
from cifarsweep.training.loop import Run, train
from cifarsweep.worker.child.main import prepare_process

prepare_process()
run = Run(TINY, 0, make_split(), CLASSES, CheckpointFolder(Path({folder!r})), save_every_s=0.0)
for event in train(run):
    if isinstance(event, Saved):
        ref = event.checkpoint
        print(ref.step, ref.path, ref.sha256, ref.bytes, flush=True)
"""


def test_a_killed_process_loses_nothing(bench, tmp_path):
    script = CHILD.format(tests=str(Path(__file__).parent), folder=str(tmp_path / "killed"))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as child:
        lines = [child.stdout.readline() for _ in range(7)]  # mid-epoch, and mid-way between two rows
        os.kill(child.pid, signal.SIGKILL)
    refs = tuple(
        CheckpointRef(int(step), path, digest, int(size)) for step, path, digest, size in map(str.split, lines)
    )
    events = bench.events(folder=CheckpointFolder(tmp_path / "killed"), resume=refs[:-3:-1])
    started = events[0] if isinstance(events[0], Started) else events[1]
    assert started.start_step > 0
    whole = bench.events()
    expected = {key: value for key, value in bits(whole).items() if key[1] > started.start_step}
    assert {key: value for key, value in bits(events).items() if key[1] > started.start_step} == expected
    assert finished(events).result.weights_sha256 == finished(whole).result.weights_sha256
