"""The GPU path on a pretended GPU: graphs train to the bits of plain steps, and hold nothing that a graph can't."""

import gc
import itertools
import weakref
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
import torch
from pretended_gpu import CUDA, PretendedGpu, pretended_gpu
from stripes import CLASSES, TINY, Bench, bits, finished, stripes
from torch import nn
from torch.nn import functional

from cifarsweep.checkpoints.folder import CheckpointFolder
from cifarsweep.data.dataset import Split
from cifarsweep.models import cost, resnet
from cifarsweep.spec.image_shape import ImageShape
from cifarsweep.spec.reader import find, read_study
from cifarsweep.spec.settings import Augment, ConvNet, EarlyStop, Normalize, Optimizer, ResNet9, Schedule, Timm, ViT
from cifarsweep.training import loop, state, step
from cifarsweep.training.events import BranchSaved, CaptureFailed
from cifarsweep.worker.failures import Failure, classify, explain

#: Every setting or column in turn: the same on every version of Python.
pytestmark = pytest.mark.long

STUDIES = sorted(path.stem for path in (Path(__file__).parents[2] / "studies").glob("*.toml"))
#: 10 images in batches of 4: two full ones and an odd one, twice.
SHORT = TINY.model_copy(update={"batch_size": 4, "epochs": 2, "log_every": 2})
RESIZED = Augment(crop=0, resized_crop=0.2, vflip=True, randaugment=1, mixup=0.4)
SMALL_VIT = ViT(width=16, depth=1, heads=2, dropout=0.1)


def change(**changes):
    return SHORT.model_copy(update=changes)


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """Makes runs of six steps, of which the second is captured, on narrow residual nets."""
    monkeypatch.setattr(loop, "PROGRESS_EVERY_S", 1e9)
    monkeypatch.setattr(step, "WARM_UPS", 1)
    monkeypatch.setattr(resnet, "STEM_WIDTH", 8)
    monkeypatch.setattr(resnet, "WIDTHS", (4, 8, 8, 16))
    narrow = cache(cost.__wrapped__)  # of its own, for that of all tests remembers what networks of full width cost
    for module in (loop, state):
        monkeypatch.setattr(module, "cost", narrow)
    numbers, half = itertools.count(), torch.full((3,), 0.5)
    split = Split(*stripes(10, seed=1), *stripes(4, seed=2), half, half / 2)
    return Bench(lambda: CheckpointFolder(tmp_path / f"trial-{next(numbers)}"), split)


def trained(bench, settings, **options):
    """The events of a trial on a pretended GPU, which comes with them."""
    with pretended_gpu() as gpu:
        return bench.events(settings, device="cuda:0", **options), gpu


def assert_graph_is_plain(bench, settings):
    plain, _ = trained(bench, settings, graphs=False)
    captured, gpu = trained(bench, settings)
    assert not [event for event in captured if isinstance(event, CaptureFailed)]
    assert gpu.captures == 1
    assert bits(captured) == bits(plain)
    assert finished(captured).result.weights_sha256 == finished(plain).result.weights_sha256


@pytest.mark.parametrize(
    "model",
    [
        ConvNet(widths=(4, 8)),
        ConvNet(widths=(4, 8), skip=True, norm="layer", dropout=0.2),
        ConvNet(widths=(8, 16), norm="group", kernel_size=5),
        ConvNet(widths=(4, 8), norm="instance"),
        ConvNet(widths=(4, 8), norm="instance", norm_affine=False),
        ConvNet(widths=(4, 8), skip=True, skip_every=1, bridge_size=3, stem_width=4),
        ConvNet(widths=(4, 8), norm="none"),
        ConvNet(widths=(4, 8), norm="none", init="torch"),
        ResNet9(),
        SMALL_VIT,
        SMALL_VIT.model_copy(update={"stem": "conv"}),
        Timm(name="timm:test_vit", img_size=32),
        Timm(name="timm:test_resnet", img_size=64),
    ],
    ids=repr,
)
def test_every_family_trains_to_the_bits_of_the_plain_step(bench, model):
    if isinstance(model, Timm):
        pytest.importorskip("timm", reason="timm is an extra and is not installed")
    assert_graph_is_plain(bench, change(model=model))


@pytest.mark.parametrize(
    "changes",
    [
        *(
            {"optimizer": Optimizer(name=name, lr=0.01, clip=clip)}
            for name in ("adam", "adamw")
            for clip in (None, 0.5)
        ),
        {"optimizer": Optimizer(lr=0.01, beta2=0.5, amsgrad=True)},
        {"optimizer": Optimizer(name="sgd", lr=0.05, nesterov=True, clip=0.5)},
        {"optimizer": Optimizer(name="sgd", momentum=0.0), "precision": "float32"},
        {"schedule": Schedule(name="cosine", warmup_steps=2), "determinism": "fast"},
        {"schedule": Schedule(name="cosine", warmup_epochs=1, warmup_start=0.1, by="epoch")},
        {"normalize": Normalize(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))},
        {"keep_best": True, "early_stop": EarlyStop(patience=3), "eval_every": 2, "log_every": 1},
    ],
    ids=repr,
)
def test_every_optimizer_and_schedule_does(bench, changes):
    assert_graph_is_plain(bench, change(**changes))


@pytest.mark.parametrize(
    "augment",
    [
        Augment(crop=0, flip=False),
        Augment(crop=0),
        Augment(randaugment=2),
        Augment(randaugment=1, randaugment_magnitude=0, crop=0, flip=False),
        Augment(cutout=8),
        Augment(erasing=0.5),
        Augment(mixup=1.0, label_smoothing=0.1),
        Augment(cutmix=1.0),
        Augment(vflip=True),
        Augment(crop=0, flip=False, resized_crop=0.08),
        Augment(mixup=0.8, mixup_prob=0.5),
        Augment(crop=0, resized_crop=0.2, vflip=True, randaugment=1, mixup=0.4, cutmix=1.0, mixup_prob=0.7),
        Augment(randaugment=1, cutout=4, erasing=0.5, mixup=0.4, cutmix=1.0),
    ],
    ids=repr,
)
def test_every_augmentation_does_and_is_drawn_for_its_own_epoch(bench, augment):
    assert_graph_is_plain(bench, change(augment=augment))


@pytest.mark.parametrize("shape", [ImageShape(28, 1), ImageShape(45, 3)], ids=str)
@pytest.mark.parametrize("augment", [Augment(randaugment=2, cutout=9, erasing=0.5, cutmix=1.0), RESIZED], ids=repr)
def test_every_shape_of_images_does(bench, shape, augment):
    half, draw = torch.full((shape.channels,), 0.5), torch.Generator().manual_seed(1)
    size = (14, shape.side, shape.side, shape.channels)
    images = torch.randint(0, 256, size, dtype=torch.uint8, generator=draw).permute(0, 3, 1, 2)
    labels = torch.arange(14) % CLASSES
    bench.split = Split(images[:10], labels[:10], images[10:], labels[10:], half, half / 2)

    assert_graph_is_plain(bench, change(augment=augment))


@pytest.fixture(scope="module")
def proved():
    """Settings of first cells that were trained: studies share some."""
    return set()


@pytest.mark.parametrize("name", STUDIES)
def test_the_first_cell_of_every_shipped_study_does(bench, proved, name):
    settings = shrunk(read_study(find(name)).cells[0].settings)
    if isinstance(settings.model, Timm):
        pytest.importorskip("timm", reason="timm is an extra and is not installed")
    if settings not in proved:
        assert_graph_is_plain(bench, settings)
        proved.add(settings)


def shrunk(settings):
    """The same options on narrow networks and six steps."""
    model, schedule = settings.model, settings.schedule
    match model:
        case ConvNet():
            model = model.model_copy(update={"widths": tuple(max(8, width // 16) for width in model.widths)})
        case ViT():
            model = model.model_copy(update={"width": 16, "depth": 1, "heads": 2})
        case Timm():
            model = Timm(name="timm:test_nfnet", img_size=32)
    warmup = int(bool(schedule.warmup_steps or schedule.warmup_epochs))
    schedule = schedule.model_copy(update={"warmup_epochs": 0.0, "warmup_steps": warmup})
    budget = {"batch_size": 4, "epochs": 2, "steps": None, "eval_every": None, "dataset": "stripes"}
    return settings.model_copy(update={"model": model, "schedule": schedule, **budget})


def test_full_batches_are_captured_after_some_and_odd_ones_run_as_they_are(bench, monkeypatch):
    did = Counter()

    class Counting(PretendedGpu):
        def warm(self, work):
            did["warm"] += 1
            super().warm(work)

        def replay(self, tape):
            did["replay"] += 1
            super().replay(tape)

    monkeypatch.setattr("pretended_gpu.PretendedGpu", Counting)
    monkeypatch.setattr(step, "WARM_UPS", 3)
    _, gpu = trained(bench, change(epochs=4))
    assert gpu.captures == 1 and did == {"warm": 3, "replay": 4 * 2 - 3}


def test_a_batch_that_is_all_images_is_captured_too(bench):
    assert_graph_is_plain(bench, change(batch_size=10, epochs=4))


def test_a_trial_that_never_has_a_full_batch_twice_needs_no_graph(bench):
    plain, _ = trained(bench, change(epochs=None, steps=1), graphs=False)
    captured, gpu = trained(bench, change(epochs=None, steps=1))
    assert gpu.captures == 0
    assert bits(captured) == bits(plain)


def test_a_captured_trial_resumes_to_the_same_bits(bench):
    whole, _ = trained(bench, SHORT)
    asked, folder = itertools.count(), bench.folder()
    first, _ = trained(bench, SHORT, folder=folder, should_stop=lambda: next(asked) >= 4)
    second, _ = trained(bench, SHORT, folder=folder, resume=(first[-2].checkpoint,))
    assert bits(first) | bits(second) == bits(whole)


def test_a_captured_trial_begins_from_the_checkpoint_of_another_one(bench):
    longer, branches = change(epochs=3), bench.folder()
    whole, _ = trained(bench, longer)
    first, _ = trained(bench, SHORT, branch_steps=frozenset({5}), branches=branches)
    saved = next(event.checkpoint for event in first if isinstance(event, BranchSaved))
    second, gpu = trained(bench, longer, begin=(branches, saved))
    assert second[0].branch_step == 5 and gpu.captures == 1
    before = {key: value for key, value in bits(first).items() if key[1] < 5}
    assert before | bits(second) == bits(whole)
    assert finished(second).result.weights_sha256 == finished(whole).result.weights_sha256


class Sick(nn.Module):
    """A linear network that does something to its images first."""

    def __init__(self, treat):
        super().__init__()
        self.linear, self.treat = nn.Linear(3 * 32 * 32, CLASSES), treat

    def forward(self, images):
        return self.linear(self.treat(images).flatten(1))


def sick_models(monkeypatch, treat):
    monkeypatch.setattr("cifarsweep.training.state.build", lambda *_: Sick(treat))


#: What a graph can't hold, and what a GPU says of it.
UNFIT = {
    "reads a value": (lambda images: images * images.mean().item(), "waits for the device"),
    "asks a condition": (lambda images: images if images.mean() > 0 else -images, "waits for the device"),
    "selects by a mask": (lambda images: images + images[images > 0].mean(), "waits for the device"),
    "copies to the host": (lambda images: images.cpu().to(CUDA), "a copy of"),
    "copies from the host": (lambda images: images + torch.zeros(1, 3, 32, 32).to(CUDA), "a copy of"),
    "copies a number": (
        lambda images: images * torch.zeros((), device=CUDA).copy_(torch.tensor(0.5)),
        "a copy between host and device",
    ),
    "counts what comes twice": (
        lambda images: (
            images + torch.zeros(2, device=CUDA).index_put((images[:, 0, 0, 0].long() * 0,), images[:, 0, 0, 0]).sum()
        ),
        "waits for the device where it must be deterministic",
    ),
    "makes a constant": (lambda images: images * torch.tensor(0.5, device=CUDA), "a copy from the host"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_no_graph_can_hold_is_said_once_and_trains_to_the_same_bits(bench, monkeypatch, name):
    treat, complaint = UNFIT[name]
    sick_models(monkeypatch, treat)
    plain, _ = trained(bench, SHORT, graphs=False)

    events, gpu = trained(bench, SHORT)

    failed = [event for event in events if isinstance(event, CaptureFailed)]
    assert len(failed) == 1 and failed[0].step == 2 and complaint in failed[0].reason
    assert gpu.captures == 0
    assert bits(events) == bits(plain)


def test_a_value_of_python_that_changes_is_frozen_in_a_graph(bench, monkeypatch):
    """The pretended GPU can tell graphs from plain steps."""
    steps = itertools.count(1)
    sick_models(monkeypatch, lambda images: images * next(steps))
    plain, _ = trained(bench, SHORT, graphs=False)
    captured, _ = trained(bench, SHORT)
    assert bits(captured) != bits(plain)


@pytest.mark.parametrize(
    ("treat", "operation"),
    [
        (lambda images: functional.adaptive_avg_pool2d(images, 7), "_adaptive_avg_pool2d_backward"),  # VGG's
        (lambda images: functional.pad(images, (1, 1, 1, 1), mode="reflect"), "reflection_pad2d_backward"),
    ],
)
def test_an_operation_that_is_not_deterministic_fails_the_trial_unless_fast(bench, monkeypatch, treat, operation):
    def wrapped(images):
        return functional.interpolate(treat(images.requires_grad_()), size=32)

    sick_models(monkeypatch, wrapped)
    with pytest.raises(RuntimeError, match=f"{operation} does not have a deterministic implementation") as caught:
        trained(bench, SHORT)
    assert classify(caught.value) is Failure.OWN
    assert "--set determinism=fast" in explain(caught.value, "exact")
    assert_graph_is_plain(bench, change(determinism="fast"))


def test_memory_that_runs_out_in_a_capture_is_freed_before_the_plain_step(bench, monkeypatch):
    plain, _ = trained(bench, SHORT, graphs=False)
    taken = []

    class Exhausted(PretendedGpu):
        def capture(self, work):
            def too_much():
                work()
                memory = torch.zeros(1)
                taken.append(weakref.ref(memory))
                raise torch.OutOfMemoryError("CUDA out of memory")

            return super().capture(too_much)

        def recover(self):
            assert taken[0]() is None

    monkeypatch.setattr("pretended_gpu.PretendedGpu", Exhausted)
    events, _ = trained(bench, SHORT)

    failures = [event.reason for event in events if isinstance(event, CaptureFailed)]
    assert failures == ["OutOfMemoryError: CUDA out of memory"]
    assert bits(events) == bits(plain)


@pytest.fixture
def held(monkeypatch):
    """Weak references to the state, the images and every tensor of all trials that begin."""
    found = []

    def kept(owner, name):
        plain = owner.__init__

        def begin(self, *arguments, **options):
            plain(self, *arguments, **options)
            found.append(weakref.ref(self))
            model = getattr(self, "model", None)
            found.extend(weakref.ref(each) for each in (model.modules() if model else ()))
            found.extend(weakref.ref(each) for each in (model.parameters() if model else ()))

        monkeypatch.setattr(owner, "__init__", begin)

    for owner in (loop.TrainState, loop.BatchLoader, step.GraphStep, step.EagerStep):
        kept(owner, owner.__name__)
    gc.collect()
    gc.disable()
    yield found
    gc.enable()


@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("model", [SHORT.model, SMALL_VIT, Timm(name="timm:test_resnet", img_size=32)], ids=repr)
def test_a_trial_leaves_nothing_behind_when_it_ends(bench, held, model, graphs):
    if isinstance(model, Timm):
        pytest.importorskip("timm", reason="timm is an extra and is not installed")
    trained(bench, change(model=model), graphs=graphs)
    assert len(held) > 5 and not [each() for each in held if each() is not None]


def test_nor_when_it_is_stopped_or_fails(bench, held, monkeypatch):
    asked = itertools.count()
    trained(bench, SHORT, should_stop=lambda: next(asked) >= 4)
    sick_models(monkeypatch, UNFIT["reads a value"][0])
    trained(bench, SHORT)
    sick_models(monkeypatch, lambda images: images.no_such_attribute)
    with pytest.raises(AttributeError):
        trained(bench, SHORT)
    assert len(held) > 10 and not [each() for each in held if each() is not None]
