"""Metrics: their names, labels and units, and which of them depend on the machine."""

from __future__ import annotations

import math

#: Metrics at every logging step.
TRAIN_LOSS, TRAIN_ACCURACY = "train/loss", "train/accuracy"
VAL_LOSS, VAL_ACCURACY = "val/loss", "val/accuracy"
#: The test set where validation images are held out of the training set: evaluated once, after the last step.
TEST_LOSS, TEST_ACCURACY = "test/loss", "test/accuracy"
#: Of an evaluation where the settings ask for it, with `val/` or `test/` in front.
TOP5, CALIBRATION = "top5_accuracy", "calibration_error"
VAL_TOP5, VAL_CALIBRATION = f"val/{TOP5}", f"val/{CALIBRATION}"
LEARNING_RATE = "lr"
#: x axes: training epochs (fractional), images seen, and seconds of training without lost work.
EPOCH, IMAGES, ELAPSED = "epoch", "images", "elapsed_s"
#: x axes of cost: arithmetic of all training steps so far, and the energy in J that the whole device used meanwhile,
#: other processes included. Lost work is not counted.
FLOPS, ENERGY = "flops", "energy_j"
IMAGES_PER_SECOND = "images_per_s"
#: Results of trials that keep the best weights or may stop early: the highest validation accuracy and the step where it
#: came first, and the step at which training ended early.
BEST_ACCURACY, BEST_STEP, EARLY_STOPPED_AT = "best/accuracy", "best/step", "early_stopped_at"
#: Results of trials that keep the best weights and hold validation images out: those of these weights on the test set.
BEST_TEST_ACCURACY, BEST_TEST_LOSS = "best/test_accuracy", "best/test_loss"
#: Metrics of which a trial has one value, at its end.
SINGLE = (BEST_ACCURACY, BEST_STEP, EARLY_STOPPED_AT, TEST_ACCURACY, TEST_LOSS, BEST_TEST_ACCURACY, BEST_TEST_LOSS)
#: Prefix of a trial's confusion counts, `val/confusion/TRUE/GUESSED` with the numbers of the two classes: counts of
#: validation images at its last step, without zeros.
CONFUSION = "val/confusion/"
#: Results of every trial: how many images its validation accuracy is of, and how many of them belong to the class that
#: has most of them.
VAL_IMAGES, LARGEST_CLASS = "val/images", "val/largest_class"
#: Hardware at evaluations: means since the row before. A final value is the mean of the last attempt.
#: For the whole device: share of the time that it computed, bytes in use, W, degrees Celsius, share of the time that
#: power or heat held its clocks back, MHz, and how many slots of the worker trained.
GPU_UTILISATION, GPU_MEMORY, GPU_POWER = "gpu/utilisation", "gpu/memory_bytes", "gpu/power_w"
GPU_TEMPERATURE, GPU_THROTTLED, GPU_CLOCK = "gpu/temperature_c", "gpu/throttled", "gpu/clock_mhz"
GPU_SLOTS, CPU_SLOTS = "gpu/slots_busy", "cpu/slots_busy"
#: For the training process alone: busy processor cores, and bytes of memory.
CPU_UTILISATION, MEMORY = "cpu/utilisation", "memory_bytes"
TELEMETRY = (
    *(GPU_UTILISATION, GPU_MEMORY, GPU_POWER, GPU_TEMPERATURE, GPU_THROTTLED, GPU_CLOCK),
    *(GPU_SLOTS, CPU_SLOTS, CPU_UTILISATION, MEMORY),
)
#: Metrics that depend on the machine; all others have the same bits in every repetition.
TIMING_METRICS = frozenset({ELAPSED, IMAGES_PER_SECOND, ENERGY, *TELEMETRY})

#: Labels of the use of the machine; `UNITS` has their units and the value of one unit.
RESOURCE_LABELS = {
    IMAGES_PER_SECOND: "Images per second",
    GPU_UTILISATION: "GPU busy",
    GPU_MEMORY: "GPU memory",
    GPU_POWER: "GPU power",
    GPU_TEMPERATURE: "GPU temperature",
    GPU_THROTTLED: "GPU held back",
    GPU_CLOCK: "GPU clock",
    GPU_SLOTS: "Trials on the GPU",
    CPU_SLOTS: "Trials on the CPU",
    CPU_UTILISATION: "CPU cores busy",
    MEMORY: "Memory",
}
UNITS = {
    GPU_UTILISATION: ("%", 0.01),
    GPU_MEMORY: ("GB", 1e9),
    GPU_POWER: ("W", 1.0),
    GPU_TEMPERATURE: ("°C", 1.0),
    GPU_THROTTLED: ("%", 0.01),
    GPU_CLOCK: ("MHz", 1.0),
    MEMORY: ("GB", 1e9),
}
METRIC_LABELS = {
    VAL_ACCURACY: "Validation accuracy",
    VAL_LOSS: "Validation loss",
    TEST_ACCURACY: "Test accuracy",
    TEST_LOSS: "Test loss",
    TRAIN_ACCURACY: "Training accuracy",
    TRAIN_LOSS: "Training loss",
    VAL_TOP5: "Top-5 validation accuracy",
    VAL_CALIBRATION: "Expected calibration error",
    LEARNING_RATE: "Learning rate",
    **RESOURCE_LABELS,
    EPOCH: "Epochs",
    IMAGES: "Images seen",
    ELAPSED: "Training time",
    FLOPS: "Training FLOPs",
    ENERGY: "Energy",
}


def is_share(metric: str) -> bool:
    """Whether a metric lies in 0..1 and is read in per cent."""
    return metric.endswith("accuracy")


def bounds(metric: str) -> tuple[float, float]:
    """The least and the greatest value that a metric can have."""
    in_percent = is_share(metric) or UNITS.get(metric, ("", 1.0))[0] == "%"
    # Of a metric of a user's own program only a share is known.
    from_zero = in_percent or (metric in METRIC_LABELS and metric != GPU_TEMPERATURE) or metric in SINGLE
    return 0.0 if from_zero else -math.inf, 1.0 if in_percent else math.inf


def is_loss(metric: str) -> bool:
    """Whether less of a metric is better. `greater` and `trend` compare the plain numbers; all others use this."""
    return metric.endswith(("loss", "error"))
