"""The settings of the networks, with their defaults and limits."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import Discriminator, Field, Tag, model_validator

from cifarsweep.spec.frozen import Channels, Frozen, Probability
from cifarsweep.spec.image_shape import LARGEST
from cifarsweep.spec.own import OwnModel

#: How the first weights are drawn. `he`: normal, to keep the variance (He et al. 2015 and 2016), biases 0. `torch`: as
#: layers of torch do by default, which loses variance. `zero`: every convolution and linear layer is 0.
Init = Literal["he", "torch", "zero"]


class ConvNet(Frozen):
    """Stages of conv-norm-relu, each but the first after a 2x2 max-pool; then a global mean and a linear layer."""

    later: ClassVar[frozenset[str]] = frozenset(
        {"init", "norm_group_size", "norm_affine", "stem_width", "conv_bias", "skip_every", "bridge_size"}
    )

    name: Literal["convnet"] = "convnet"
    widths: Annotated[tuple[Channels, ...], Field(min_length=1, max_length=9)] = (32, 64, 128, 256, 256)
    """Channels of each stage."""
    convs_per_stage: Annotated[int, Field(ge=1, le=16)] = 2
    """Convolutions of each stage."""
    skip: bool = False
    """Add each stage's input to its output (through a bridge, a convolution, where the widths differ)."""
    skip_every: Annotated[int, Field(ge=0, le=16)] = 0
    """`skip` only: add to the output of every so many convolutions what went into them; 0 for one over each stage."""
    bridge_size: Literal[1, 3] = 1
    """`skip` only: the kernel's side of bridges; those of 1 have no bias."""
    stem_width: Annotated[int, Field(ge=0, le=65_536)] = 0
    """Channels of a 3x3 convolution before the stages, without norm and ReLU; 0 leaves it out."""
    conv_bias: bool = True
    """`norm = "none"` only: whether the convolutions of stages have a bias; stem and 3x3 bridges always have one."""
    norm: Literal["batch", "layer", "group", "instance", "none"] = "batch"
    """The norm after each convolution."""
    norm_groups: Channels = 8
    """Groups of `norm = "group"`."""
    norm_group_size: Annotated[int, Field(ge=0, le=65_536)] = 0
    """Channels of each group of `norm = "group"`, in place of `norm_groups`; 0 for as many as these give."""
    norm_affine: bool = True
    """Whether norms have a scale and a shift for each channel."""
    kernel_size: Annotated[int, Field(ge=1, le=11)] = 3
    """Pixels along the side of the kernels; an odd number."""
    dropout: Probability = 0.0
    """Probability of zeroing a feature before the linear layer."""
    init: Init = "he"
    """First weights: `he` draws them by He et al. 2015, `torch` as PyTorch does, `zero` sets all to zero."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size: {self.kernel_size} is even; use an odd size (1, 3, 5, 7, 9 or 11)")
        if self.skip and self.skip_every and self.convs_per_stage % self.skip_every:
            raise ValueError(
                f"skip_every: {self.skip_every} does not divide the {self.convs_per_stage} convolutions of a stage"
            )
        if self.norm == "group":
            self._check_groups()
        return self

    def _check_groups(self) -> None:
        size = self.norm_group_size
        if size and self.norm_groups != ConvNet.model_fields["norm_groups"].default:
            raise ValueError("norm_group_size: give norm_groups or norm_group_size, not both")
        if misfits := [width for width in self.widths if width % (size or self.norm_groups)]:
            divisor = (
                f"norm_group_size: groups of {size} channels" if size else f"norm_groups: {self.norm_groups} groups"
            )
            raise ValueError(f"{divisor} do not divide the widths {misfits}")


class ResNet9(Frozen):
    """The nine-layer net of DAWNBench: prep 64; 128 + pool + residual; 256 + pool; 512 + pool + residual; max-pool."""

    later: ClassVar[frozenset[str]] = frozenset({"init"})

    name: Literal["resnet9"] = "resnet9"
    init: Init = "he"
    """First weights: `he` draws them by He et al. 2015, `torch` as PyTorch does, `zero` sets all to zero."""


class ResNet(Frozen):
    """He et al. 2016 with the CIFAR stem: a 3x3 convolution of stride 1 and no max-pool."""

    later: ClassVar[frozenset[str]] = frozenset({"init"})

    name: Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]
    init: Init = "he"
    """First weights: `he` draws them by He et al. 2015, `torch` as PyTorch does, `zero` sets all to zero."""


class ViT(Frozen):
    """Dosovitskiy et al. 2021 for small images, with a patch embedding or a convolutional stem (Xiao et al. 2021)."""

    name: Literal["vit"] = "vit"
    stem: Literal["patch", "conv"] = "patch"
    """How an image becomes tokens: one convolution as large as a patch, or several of 3x3."""
    patch_size: Annotated[int, Field(ge=1, le=LARGEST)] = 4
    """Pixels along the side of a patch; the convolutional stem reduces by the same factor, a power of 2."""
    width: Annotated[int, Field(ge=8, le=4096)] = 256
    """Length of a token."""
    depth: Annotated[int, Field(ge=1, le=64)] = 6
    """Number of blocks."""
    heads: Annotated[int, Field(ge=1, le=64)] = 8
    """Attention heads of a block; they divide the width."""
    mlp_ratio: Annotated[float, Field(gt=0, le=16)] = 2.0
    """Width of the hidden layer of a block, in units of `width`."""
    dropout: Probability = 0.0
    """Probability of zeroing a feature after attention and in the hidden layers."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.stem == "conv" and self.patch_size.bit_count() != 1:
            raise ValueError(f"patch_size: {self.patch_size} is no power of 2, and the conv stem halves images")
        if self.width % self.heads:
            raise ValueError(f"heads: {self.heads} heads do not divide the width {self.width}")
        return self


class Timm(Frozen):
    """Any model of the timm package by its name there, such as `timm:vit_base_patch8_224`."""

    name: Annotated[str, Field(pattern=r"^timm:[A-Za-z0-9_.]{1,100}$")]
    pretrained: bool = False
    """Begin with the package's weights, which a worker fetches once; the classifier is always new."""
    img_size: Annotated[int, Field(ge=8, le=1024)] | None = None
    """Images are resized to this on the device; None means the model's own size."""


def _family(model: Any) -> str:
    name = model.get("name", "convnet") if isinstance(model, dict) else getattr(model, "name", "")
    if isinstance(name, str) and ":" in name:
        return "timm" if name.startswith("timm:") else "ownmodel"
    return "resnet" if name in get_args(ResNet.model_fields["name"].annotation) else str(name)


#: A network, told apart by its name.
Model = Annotated[
    Annotated[ConvNet, Tag("convnet")]
    | Annotated[ResNet9, Tag("resnet9")]
    | Annotated[ResNet, Tag("resnet")]
    | Annotated[ViT, Tag("vit")]
    | Annotated[Timm, Tag("timm")]
    | Annotated[OwnModel, Tag("ownmodel")],
    Discriminator(_family),
]
