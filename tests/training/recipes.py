"""Tiny trials of every network family, optimizer and option of a recipe."""

from stripes import TINY

from cifarsweep.spec.settings import (
    Augment,
    ConvNet,
    EarlyStop,
    Normalize,
    Optimizer,
    ResNet,
    ResNet9,
    Schedule,
    Timm,
    ViT,
)


def change(**changes):
    return TINY.model_copy(update=changes)


SGD = change(optimizer=Optimizer(name="sgd", lr=1e-2, nesterov=True))
#: Every optimizer and every option of a recipe, and what they add to a checkpoint.
RECIPES = {
    "adamw": TINY,
    "sgd, phases": SGD.model_copy(update={"schedule": Schedule(name="cosine", warmup_steps=2, phases=("1-2 x2",))}),
    "adam, groups, clip": change(optimizer=Optimizer(name="adam", lr=1e-2, decay_norms=False, clip=0.5)),
    "amsgrad": change(optimizer=Optimizer(lr=1e-2, beta2=0.5, amsgrad=True)),
    "by epoch": SGD.model_copy(
        update={"schedule": Schedule(name="step", milestones=(0.5, 0.75), factors=(0.3, 0.5), by="epoch")}
    ),
    "warm-up with a start": SGD.model_copy(update={"schedule": Schedule(warmup_steps=5, warmup_start=0.02)}),
    "normalize": change(normalize=Normalize(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))),
    "images": change(augment=Augment(crop=2, randaugment=2, cutout=8, erasing=0.5)),
    "mixing": change(augment=Augment(crop=2, mixup=0.4, cutmix=1.0, label_smoothing=0.1)),
    "crops": change(augment=Augment(crop=0, resized_crop=0.2, vflip=True, mixup=0.4, mixup_prob=0.5)),
    "best": change(keep_best=True, optimizer=Optimizer(lr=0.1)),
    "early stop": change(epochs=9, keep_best=True, early_stop=EarlyStop(patience=1, min_delta=1.0)),
}
#: Every family, made small; the residual nets by the fixture `narrow`.
FAMILIES = {
    "convnet": ConvNet(widths=(4, 8), convs_per_stage=2, skip=True, norm="group", norm_groups=2),
    "convnet without scales": ConvNet(widths=(4, 8), norm="group", norm_group_size=2, norm_affine=False),
    "convnet of blocks": ConvNet(widths=(4, 8), skip=True, skip_every=1, bridge_size=3, stem_width=4, conv_bias=False),
    "convnet as torch draws it": ConvNet(widths=(4, 8), norm="none", init="torch"),
    "resnet9": ResNet9(),
    "basic blocks": ResNet(name="resnet18"),
    "bottlenecks": ResNet(name="resnet50"),
    "vit": ViT(width=16, depth=2, heads=2, patch_size=8, dropout=0.2),
    "vit with stem": ViT(stem="conv", width=16, depth=1, heads=2, patch_size=8),
    "timm": Timm(name="timm:test_vit", img_size=32),
}
OPTIMIZERS = {
    "sgd": Optimizer(name="sgd", lr=1e-2, nesterov=True),
    "adam": Optimizer(name="adam", lr=1e-3),
    "adamw": Optimizer(name="adamw", lr=1e-3, decay_norms=False),
}
