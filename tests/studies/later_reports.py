"""The words of reports 001 to 004 for the cells, settings and quantities of their studies, with ours."""

from facts import Place, Said, Words

from cifarsweep.spec.moments import At

_A_RANGE = "a range for a net of which the report says nothing else: hypotheses have it"
#: Epochs of report 001 whose numbers its study has. All twenty would be 120 rows of a page.
_TOLD = {
    "val/accuracy": (1, 3, 5, 6, 7, 9, 10, 12, 20),
    "val/loss": (1, 20),
    "train/loss": (1, 20),
}
_UNTOLD = {
    ("warmup-study", f"{metric} at epoch {epoch}"): "a few epochs show the course; all of them would hide it"
    for metric, told in _TOLD.items()
    for epoch in range(1, 21)
    if epoch not in told
}
_ONE_OF_TWO = "warm-up, cosine (which variant is not said)"
_HALF = (0.5, 0.5, 0.5)
_RESNET_9 = {"model.name": "resnet9", "epochs": 20}

REPORT_001 = Words(
    places={
        ("warmup-study", "constant"): Place(
            "warmup-study", "constant", {**_RESNET_9, "schedule.name": "constant", "schedule.warmup_epochs": 0.0}
        ),
        ("warmup-study", "warm-up, cosine"): Place(
            "warmup-study", "warm-up, cosine", {**_RESNET_9, "schedule.name": "cosine", "schedule.warmup_start": 0.01}
        ),
        ("warmup-study", _ONE_OF_TWO): Place("warmup-study", "warm-up, cosine"),
        ("(missing: three-conv CNN)", "3 convs, pool after each"): Place("warmup-study", "three convolutions"),
    },
    settings={
        "batch, lr, optimizer silent; ToTensor+Normalize(0.5); 4:1 random_split": {
            "augment.crop": 0,
            "augment.flip": False,
            "normalize.mean": _HALF,
            "normalize.std": _HALF,
            "validation.split": "holdout",
            "validation.fraction": 0.2,
        },
        "Test Accuracy: 87.64%": {},
        "Test Loss: 0.5552501050862158": {},
    },
    left_out={
        **_UNTOLD,
        ("(missing: three-conv CNN)", "val/accuracy range"): _A_RANGE,
    },
    said={
        ("warmup-study", _ONE_OF_TWO, "test accuracy"): Said("test/accuracy"),
        ("warmup-study", _ONE_OF_TWO, "test loss"): Said("test/loss"),
    },
)

_FINE_TUNED = {
    "dataset": "cifar100",
    "epochs": 25,
    "batch_size": 256,
    "model.pretrained": True,
    "model.img_size": 32,
    "optimizer.lr": 5e-4,
    "optimizer.weight_decay": 1e-2,
    "augment.mixup": 0.8,
    "augment.mixup_prob": 0.7,
    "augment.label_smoothing": 0.1,
    "augment.randaugment": 2,
    "augment.randaugment_magnitude": 15,
    "augment.resized_crop": 0.08,
    "augment.vflip": True,
    "validation.split": "test",
}
_NFNET = {"model.name": "timm:dm_nfnet_f0.dm_in1k"}
_VIT = {"model.name": "timm:vit_base_patch8_224.augreg_in21k_ft_in1k"}
_ADAMW = {"optimizer.name": "adamw", "optimizer.amsgrad": True}
_SGD = {"optimizer.name": "sgd", "optimizer.momentum": 0.9}
_COSINE = {"schedule.name": "cosine", "schedule.by": "epoch", "schedule.warmup_epochs": 5.0, "schedule.final": 0.002}
_LINEAR = {"schedule.name": "linear", "schedule.by": "epoch", "schedule.warmup_epochs": 0.0, "schedule.final": 0.001}
_TRANSFER = "cifar100-transfer-study"
_RUNS = {
    "NFNet-F0, AdamW, warm-up+cosine": ("NFNet-F0", _NFNET | _ADAMW | _COSINE),
    "ViT-B/8, AdamW, warm-up+cosine": ("ViT-B/8", _VIT | _ADAMW | _COSINE),
    "NFNet-F0, SGDM, warm-up+cosine": ("NFNet-F0, SGD", _NFNET | _SGD | _COSINE),
    "NFNet-F0, AdamW, linear_decay": ("NFNet-F0, linear decay", _NFNET | _ADAMW | _LINEAR),
}

REPORT_002 = Words(
    places={(_TRANSFER, run): Place(_TRANSFER, cell, _FINE_TUNED | own) for run, (cell, own) in _RUNS.items()},
    settings={"as the text says": {}},
    said={(_TRANSFER, run, "final train/loss (soft targets: mixup, smoothing)"): Said("train/loss") for run in _RUNS},
)

_RESNET = {
    "epochs": 200,
    "batch_size": 256,
    "optimizer.name": "sgd",
    "optimizer.lr": 0.1,
    "optimizer.momentum": 0.9,
    "optimizer.weight_decay": 5e-4,
    "schedule.name": "cosine",
    "schedule.by": "epoch",
    "validation.split": "test",
}


def _base(file: str, quantity: str) -> tuple[str, str, str]:
    return file, "base", quantity


_MEBIBYTE = 2.0**20
REPORT_003 = Words(
    places={
        ("resnet50-baseline", "base"): Place(
            "resnet50-baseline", "base", {**_RESNET, "model.name": "resnet50", "keep_best": True}
        )
    },
    settings={
        "as the text says": {},
        **{f"test acc: {percent}": {} for percent in ("95.53", "95.49", "95.37", "95.5", "95.38")},
        **{text: {} for text in ("5:14:15", "7500MiB", "100%", "76W / 80W")},
    },
    said={
        _base("resnet50-baseline", "test accuracy of the best weights, prose"): Said("best/accuracy"),
        _base("resnet50-baseline", "test accuracy of the best weights, log"): Said("best/accuracy"),
        # Its epochs count from 0, ours are those that are done.
        _base("resnet50-baseline", "test acc, line before epoch 197"): Said(at=At(epoch=197.0)),
        _base("resnet50-baseline", "test acc, epoch 197"): Said(at=At(epoch=198.0)),
        _base("resnet50-baseline", "test acc, epoch 198"): Said(at=At(epoch=199.0)),
        _base("resnet50-baseline", "test acc, epoch 199"): Said(),
        _base("resnet50-baseline", "training time"): Said("elapsed_s"),
        _base("resnet50-baseline", "GPU memory, training"): Said("gpu/memory_bytes", unit=_MEBIBYTE),
        _base("resnet50-baseline", "GPU utilisation, training"): Said("gpu/utilisation"),
        _base("resnet50-baseline", "GPU power"): Said("gpu/power_w"),
    },
    left_out={
        ("resnet50-baseline", "time of an epoch"): "the training time divided by its epochs",
        ("resnet50-baseline", "time of the test"): "no metric: evaluations are part of the training time",
        ("resnet50-baseline", "parameters"): "of the network, and no result: tests/models/test_registry.py",
        ("resnet50-baseline", "multiply-adds by thop (convs + 4 an element of batch norm)"): "of the network too",
        ("resnet50-baseline", "GPU memory, test"): "no metric: the use of the GPU is that of the whole run",
        ("resnet50-baseline", "GPU utilisation, test"): "no metric: the use of the GPU is that of the whole run",
    },
)

_RESNET_18 = {**_RESNET, "model.name": "resnet18"}
_PHASES = "resnet18-phases-study"
#: Metric and epoch, counted from 0, of the numbers of the phases.
_AT_EPOCHS = {
    "cosine": (("val/accuracy", 48), ("train/accuracy", 48), ("val/accuracy", 49)),
    "x5": (("val/accuracy", 50), ("val/accuracy", 51), ("val/accuracy", 52), ("train/loss", 50)),
    "x2": (("val/accuracy", 70), ("train/accuracy", 70)),
    "x0.5": (("val/accuracy", 96), ("train/accuracy", 96)),
}
_PERCENTS = [
    "89.110",
    "92.832",
    "87.000",
    "82.350",
    "81.860",
    "83.140",
    "84.120",
    "90.778",
    "91.980",
    "98.320",
    "95.130",
    "95.160",
    "100.000",
]

REPORT_004 = Words(
    places={
        ("resnet18-baseline", "base"): Place("resnet18-baseline", "base", _RESNET_18),
        (_PHASES, "cosine"): Place(_PHASES, "cosine", {**_RESNET_18, "schedule.phases": ()}),
        **{
            (_PHASES, factor): Place(_PHASES, factor, {**_RESNET_18, "schedule.phases": (f"50-100 {factor}",)})
            for factor in ("x5", "x2", "x0.5")
        },
    },
    settings={
        **{f"{percent}%": {} for percent in _PERCENTS},
        **{text: {} for text in ("as the text says", "Acc: 94.980%", "Loss: 0.181", "Loss: 0.002", "0.382", "0.178")},
    },
    said={
        _base("resnet18-baseline", "val/accuracy at the end (epoch 199)"): Said(),
        _base("resnet18-baseline", "val/loss at the end"): Said("val/loss"),
        _base("resnet18-baseline", "train/accuracy at the end"): Said("train/accuracy"),
        _base("resnet18-baseline", "train/loss at the end"): Said("train/loss"),
        _base("resnet18-baseline", "training time"): Said("elapsed_s"),
        (_PHASES, "x0.5", "val/accuracy at the end (epoch 200)"): Said(),
        (_PHASES, "x0.5", "val/loss at the end"): Said("val/loss"),
        (_PHASES, "x0.5", "best/accuracy (epoch 180)"): Said("best/accuracy"),
        **{
            (_PHASES, cell, f"{metric} at epoch {epoch}"): Said(metric, At(epoch=epoch + 1.0))
            for cell, moments in _AT_EPOCHS.items()
            for metric, epoch in moments
        },
    },
    left_out={("resnet18-baseline", "first epoch of 100 % training accuracy"): "an epoch, and no metric: a hypothesis"},
)
