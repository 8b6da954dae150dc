"""The reference of metrics: every one with its range, its unit and what it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cifarsweep.spec import metrics as m

#: What each metric is. Those of hardware are means since the row before.
MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        m.TRAIN_LOSS: "Mean loss of the training batches since the row before.",
        m.TRAIN_ACCURACY: "Share of the training images since the row before that were right, as they were augmented.",
        m.VAL_LOSS: "Mean loss on the validation images, at an evaluation.",
        m.VAL_ACCURACY: "Share of the validation images that are right, at an evaluation.",
        m.TEST_LOSS: "Mean loss on the test set, once, after the last step; only where validation images are held out.",
        m.TEST_ACCURACY: "Share of the test set that is right, once, after the last step; as `test/loss`.",
        m.VAL_TOP5: "Share of the validation images whose class is among the five likeliest; with `metrics.top5`.",
        m.VAL_CALIBRATION: "Expected calibration error on the validation images, in 15 bins; with `metrics.ece`.",
        f"test/{m.TOP5}": "As `val/top5_accuracy`, on the test set, once, after the last step.",
        f"test/{m.CALIBRATION}": "As `val/calibration_error`, on the test set, once, after the last step.",
        m.LEARNING_RATE: "The rate of the step.",
        m.EPOCH: "Epochs of training so far, in fractions.",
        m.IMAGES: "Training images seen so far.",
        m.ELAPSED: "Seconds of training so far, without work that was lost.",
        m.FLOPS: "Arithmetic of all training steps so far.",
        m.ENERGY: "Energy that the whole device used while it trained, other processes included, in joules; of several "
        "GPUs the sum.",
        m.IMAGES_PER_SECOND: "Training images a second since the row before.",
        m.BEST_ACCURACY: "The highest validation accuracy; with `keep_best` or `early_stop`.",
        m.BEST_STEP: "The step at which it came first.",
        m.EARLY_STOPPED_AT: "The step at which training ended early.",
        m.BEST_TEST_ACCURACY: "The test accuracy of the weights with the best validation accuracy; with `keep_best`.",
        m.BEST_TEST_LOSS: "The test loss of these weights.",
        f"{m.CONFUSION}TRUE/GUESSED": "Validation images of class TRUE that were taken for GUESSED, at the last step; "
        "classes by number, without zeros.",
        m.VAL_IMAGES: "How many images the validation accuracy is of.",
        m.LARGEST_CLASS: "How many of them belong to the class that has most.",
        m.GPU_UTILISATION: "Share of the time that the GPU computed; of several the mean, as of their clocks.",
        m.GPU_MEMORY: "Memory of the GPU in use; of several GPUs of a trial the sum.",
        m.GPU_POWER: "Power of the GPU; of several the sum.",
        m.GPU_TEMPERATURE: "Temperature of the GPU; of several the highest.",
        m.GPU_THROTTLED: "Share of the time that power or heat held the GPU's clocks back.",
        m.GPU_CLOCK: "Clock of the GPU.",
        m.GPU_SLOTS: "Slots of the worker that trained on the GPU.",
        m.CPU_SLOTS: "Slots of the worker that trained on the processor.",
        m.CPU_UTILISATION: "Processor cores that the training process kept busy.",
        m.MEMORY: "Memory of the training process.",
    }
)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `values` is its range and unit as stored; `repeats` is false where it depends on the machine."""

    name: str
    values: str
    repeats: bool
    text: str


def metrics_reference() -> list[Metric]:
    """Return all metrics of the built-in trainings, with those of the hardware last."""
    return [Metric(name, _values(name), name not in m.TIMING_METRICS, text) for name, text in MEANINGS.items()]


def _values(name: str) -> str:
    shown = m.UNITS.get(name, ("", 1.0))[0]
    unit = {"%": "", "GB": "bytes"}.get(shown, shown)
    # `bounds` knows no metric by its prefix; none of ours but a temperature is below 0.
    ends = "any number" if name == m.GPU_TEMPERATURE else "0 to 1" if m.bounds(name)[1] == 1 else "0 or more"
    return f"{ends}, {unit}" if unit else ends
