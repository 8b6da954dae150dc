"""The words of report 000 for the cells, settings and quantities of its studies, with ours."""

from facts import Place, Said, Words

from cifarsweep.spec.moments import At

HALF = (0.5, 0.5, 0.5)
#: What its logs, configurations and code say of all its convnets.
ALL = {
    "dataset": "cifar10",
    "validation.split": "test",
    "normalize.mean": HALF,
    "normalize.std": HALF,
    "augment.crop": 0,
    "augment.flip": True,
    "precision": "float32",
    "optimizer.weight_decay": 1e-2,
}
NET = {
    "model.name": "convnet",
    "model.stem_width": 32,
    "model.widths": (64, 128, 256, 256),
    "model.init": "torch",
    "model.norm": "batch",
    "model.skip": False,
}
ADAMW = {"optimizer.name": "adamw", "optimizer.lr": 3e-4}
SGD = {"optimizer.name": "sgd", "optimizer.momentum": 0.9, "optimizer.weight_decay": 0.0}
LONG = {"batch_size": 64, "epochs": 100}
CONSTANT = {"schedule.name": "constant", "schedule.warmup_epochs": 0.0}
COSINE = {"schedule.name": "cosine", "schedule.warmup_epochs": 0.0, "schedule.final": 0.0, "schedule.by": "step"}
STEPS = {"schedule.name": "step", "schedule.milestones": (0.6, 0.8)}
SKIP = {"model.skip": True, "model.skip_every": 2, "model.bridge_size": 3}
ONE_BLOCK = {**ALL, **NET, **ADAMW, **LONG, **CONSTANT, "model.convs_per_stage": 2}
DEEP = {**ALL, **NET, **ADAMW, **LONG, **COSINE}
VIT = {
    **{**ALL, **ADAMW, **LONG, **CONSTANT},
    **{"model.name": "vit", "model.width": 128, "model.heads": 4, "model.mlp_ratio": 4.0},
    **{"model.dropout": 0.1, "model.patch_size": 4},
}

SETTINGS = {
    # The cosine over 78,200 steps has lost 0.04 % of the rate at step 1,000.
    "norm=none, 2 blocks of 2 convs a stage, no skip, AdamW, batch 64, 1,000 steps of a cosine over 78,200": {
        **{**ALL, **NET, **CONSTANT, "optimizer.name": "adamw", "batch_size": 64, "steps": 1000},
        **{"model.norm": "none", "model.conv_bias": False, "model.convs_per_stage": 4},
    },
    "norm=bn, widths 32-64-128-256-512, skip over each 2 convs, AdamW constant, batch 16, 10 epochs = 31,250 steps": {
        **{**ALL, **NET, **SKIP, **CONSTANT, "optimizer.name": "adamw", "batch_size": 16, "epochs": 10},
        **{"model.widths": (64, 128, 256, 512), "model.convs_per_stage": 4},
    },
    "AdamW 3e-4 constant, batch 64, 100 epochs, 1 block (2 convs) a stage, flip only, mean=std=0.5, seed 42, float32": {
        key: value for key, value in ONE_BLOCK.items() if key != "model.norm"
    },
    "width 128, depth 12, heads 4, MLP 512, dropout 0.1, patch 4; AdamW 3e-4 constant, batch 64, 100 epochs": {
        **{**VIT, "model.depth": 12, "model.stem": "patch"},
    },
    # Its two convolutions have 128 channels and a third of 3x3 follows; ours have 64 and 128, then one of 1x1. It has
    # no positions, and ours has.
    "the same, depth 11, stem of two 3x3/2 convs of 128 with BN, ReLU and one 3x3, no positions": {
        **{**VIT, "model.depth": 11, "model.stem": "conv"},
    },
    "AdamW 3e-4, cosine by step, no warm-up, batch 64, 100 epochs": {**DEEP, "model.convs_per_stage": 2},
    "AdamW 3e-4, x1/3 at epoch 60, x1/2 more at 80": {**ONE_BLOCK, **STEPS, "schedule.factors": (1 / 3, 0.5)},
    "SGD 0.01 momentum 0.9, no weight decay, x0.1 at 60 and 80": {
        **{**ONE_BLOCK, **STEPS, **SGD, "optimizer.lr": 0.01, "schedule.factor": 0.1, "schedule.factors": ()},
    },
    "SGD 1e-3 momentum 0.9": {**ONE_BLOCK, **SGD, "optimizer.lr": 1e-3},
    "AdamW 3e-4": ONE_BLOCK,
    "lr 3e-4, AdamW constant, 100 epochs but where said": {
        **{key: value for key, value in ONE_BLOCK.items() if key not in ("batch_size", "epochs")},
        "optimizer.scaling": "none",
    },
    "lr 2.4e-3 = 3e-4 * 512/64, AdamW constant, 100 epochs but where said": {
        **{**ONE_BLOCK, "batch_size": 512, "optimizer.scaling": "linear", "optimizer.base_batch": 64},
    },
    "AdamW 3e-4, cosine 78,200 steps, batch 64": {key: value for key, value in DEEP.items() if key != "model.norm"},
    "as the text says": {},
}

PLACES = {
    ("lr-study", "lr=1e-3, skip=no"): Place("lr-study", "lr=0.001, norm=none, skip=no", {"optimizer.lr": 1e-3}),
    ("lr-study", "lr=5e-4, skip=no"): Place("lr-study", "lr=0.0005, norm=none, skip=no", {"optimizer.lr": 5e-4}),
    ("lr-study", "lr=3e-4, skip=no"): Place("lr-study", "lr=0.0003, norm=none, skip=no", {"optimizer.lr": 3e-4}),
    **{
        ("lr-study", f"lr={lr}, skip=yes"): Place("lr-skip-study", f"lr={float(lr):g}", {"optimizer.lr": float(lr)})
        for lr in ("1e-3", "5e-4", "3e-4", "1e-4", "5e-5")
    },
    **{
        ("normalization-study", f"norm={theirs}"): Place("normalization-study", ours, settings)
        for theirs, ours, settings in (
            ("batch", "batch", {"model.norm": "batch"}),
            ("layer", "layer", {"model.norm": "layer"}),
            ("group (16 channels a group)", "group", {"model.norm": "group", "model.norm_group_size": 16}),
            # Groups of one channel are those of instance norm.
            (
                "instance (GroupNorm, 1 channel a group, affine)",
                "instance",
                {"model.norm": "instance", "model.norm_affine": True},
            ),
            (
                "instance (torch InstanceNorm2d, not affine; not in the figure)",
                "instance, not affine",
                {"model.norm": "instance", "model.norm_affine": False},
            ),
            ("none (convolutions without bias)", "none", {"model.norm": "none", "model.conv_bias": False}),
        )
    },
    **{("vit-study", name): Place("vit-study", name) for name in ("ViT", "ViT, convolutional stem", "convnet")},
    ("vit-study", "convnet"): Place("vit-study", "convnet", {"model.norm": "batch"}),
    **{
        ("optimizer-schedule-study", name): Place("optimizer-schedule-study", name.removesuffix(" (not in the figure)"))
        for name in (
            *("AdamW, cosine", "AdamW, step", "AdamW, constant", "SGD, step", "SGD, constant (not in the figure)"),
        )
    },
    **{
        ("batch-size-study", f"batch {size}"): Place(
            "batch-size-study", f"batch {size}", {"batch_size": size, "epochs": 100}
        )
        for size in (64, 128, 256, 512)
    },
    ("batch-size-study", "batch 512, 800 epochs"): Place(
        "batch-size-study", "batch 512, 800 epochs", {"batch_size": 512, "epochs": 800}
    ),
    ("batch-size-study", "batch 512, linear rate"): Place("batch-size-study", "batch 512, linear rate"),
    **{
        ("depth-study", theirs): Place("depth-study", ours, {"model.convs_per_stage": convs, "model.norm": "batch"})
        for theirs, ours, convs in (
            ("1 block (2 convs) a stage", "convs_per_stage=2", 2),
            ("2 blocks (4 convs)", "convs_per_stage=4", 4),
            ("4 blocks (8 convs)", "convs_per_stage=8", 8),
            ("6 blocks (12 convs)", "convs_per_stage=12", 12),
        )
    },
    ("depth-study", "6 blocks, skip over each 2 convs"): Place(
        "depth-study", "12 with skip", {**SKIP, "model.convs_per_stage": 12, "model.norm": "batch"}
    ),
    **{
        ("norm-depth-study", theirs): Place(
            "norm-depth-study",
            f"norm={norm}, convs_per_stage={convs}",
            {"model.norm": norm, "model.conv_bias": False, "model.convs_per_stage": convs},
        )
        for theirs, norm, convs in (
            ("batch, 2 blocks", "batch", 4),
            ("none, 2 blocks", "none", 4),
            ("none, 4 blocks (7 epochs)", "none", 8),
            ("none, 6 blocks (47 epochs)", "none", 12),
        )
    },
}


def _ended_early(cell: str, epoch: int) -> dict[tuple[str, str, str], Said]:
    """What is said of a run that was ended after some epochs of those that its schedule was for."""
    at, evaluations = At(epoch=epoch), min(10, epoch)
    said = {
        "val/accuracy at the end": Said(at=at),
        "best/accuracy (step 782)": Said(at=at, of="best"),
        "mean val/accuracy of the last 10 evaluations": Said(at=at, of=f"mean of the last {evaluations}"),
        "training time incl. evaluation": Said("elapsed_s", at=at),
    }
    return {("norm-depth-study", cell, quantity): what for quantity, what in said.items()}


REPORT_000 = Words(
    places=PLACES,
    settings=SETTINGS,
    said={
        **{
            ("lr-study", f"lr={lr}, skip=no", quantity): what
            for lr in ("1e-3", "5e-4", "3e-4")
            for quantity, what in {
                "val/accuracy after 1 epoch (step 782)": Said(at=At(step=782)),
                # With `log_every = 100` the last row of training has the mean of the last 100 steps.
                "train/loss, mean of steps 900-1000": Said("train/loss"),
            }.items()
        },
        ("lr-study", "lr=1e-3, skip=no", "val/accuracy after 1 epoch"): Said(at=At(epoch=1)),
        ("batch-size-study", "batch 64", "val/accuracy at step 9,800 (the last step of batch 512)"): Said(
            at=At(step=9800)
        ),
        **_ended_early("none, 4 blocks (7 epochs)", 7),
        **_ended_early("none, 6 blocks (47 epochs)", 47),
    },
    left_out={
        (
            "optimizer-schedule-study",
            "rise of val/accuracy over the first milestone (epoch 60 to 61)",
        ): "a difference of two evaluations of one run, which is no value of a metric",
        ("batch-size-study", "time against batch 64"): "a ratio of two cells; the times of both are there",
    },
)
