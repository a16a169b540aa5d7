"""FFNet: images in, classes or a pyramid of features out (paper, section 3.4 and table 2).

Every variant is a timm model: `timm.create_model("ffnet_1", features_only=True)` and all that timm builds on.
"""

from collections.abc import Sequence
from functools import partial

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import LayerNorm2d, calculate_drop_path_rates
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models._features import feature_take_indices
from torch import Tensor, nn

from ...errors import InputError, expect_odd
from ...mixer import ConvNeXtFFN, MixerBlock, Mixers, mixer_of_each, token_mixer
from ...ops import IMAGE
from ...zoo.files import source_of
from ...zoo.weights import WEIGHTS, weights_of
from .parts import PLAIN_PARTS, SEGMENTATION_PARTS, STRIDE, Parts, Stage, check_image, init_weights
from .pretrained import checkpoint_filter_fn, forget_weights, overlay_with_weights

__all__ = ["VARIANTS", "FFNet"]

# torch.fx looks up the name in the caller's module.
torch.fx.wrap("check_image")


class FFNet(nn.Module):
    """The image network.

    Args:
        depths, dims: blocks and width of each stage; except in `ffnet_seg`, a width is a multiple of the one before.
        token_kernels, channel_kernels: kernel size of the token and the channel mixer in each stage; kernels of 7 and
            more train with a parallel branch of half the size.
        mixers: token mixer of each stage, or one for all: a name of `metamixer.TOKEN_MIXERS` or a function
            (dim, kernel_size, operators).
        layer_scale: initial value of the layer scales; None: no layer scales.
        feature_norms: add a LayerNorm to each stage's features, as published for detection and UPerNet
            (with `features_only=True`).
        parts: stem, downsampling, head and the token mixers' operators.
    """

    def __init__(
        self,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        *,
        depths: Sequence[int] = (2, 2, 8, 2),
        dims: Sequence[int] = (80, 160, 320, 640),
        stem_dim: int = 64,
        token_kernels: Sequence[int] = (3, 3, 7, 7),
        channel_kernels: Sequence[int] = (3, 3, 3, 3),
        expansion_ratio: float = 3,
        mixers: Mixers = "ffnified",
        layer_scale: float | None = None,
        feature_norms: bool = False,
        parts: Parts = PLAIN_PARTS,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        device=None,
        dtype=None,
    ):
        super().__init__()
        factory = {"device": device, "dtype": dtype}
        operators, token_operators = IMAGE.on(**factory), parts.token_operators.on(**factory)
        mixers = mixer_of_each(mixers, len(depths))
        if not depths or not len(depths) == len(dims) == len(token_kernels) == len(channel_kernels):
            raise InputError(
                f"depths {depths}, dims {dims}, token_kernels {token_kernels}, channel_kernels {channel_kernels}: "
                "expected one entry per stage in each"
            )
        expect_odd("token_kernels", *token_kernels)
        expect_odd("channel_kernels", *channel_kernels)
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.drop_rate = drop_rate
        self.num_features = dims[-1]
        self.published_names = parts.names

        self.stem = parts.stem(in_chans, stem_dim, dims[0], operators)
        self.stages = nn.Sequential()
        self.feature_info = []
        rates = calculate_drop_path_rates(drop_path_rate, list(depths), stagewise=False)
        for i, (depth, dim) in enumerate(zip(depths, dims, strict=True)):
            scale = partial(operators.layer_scale, dim, layer_scale) if layer_scale is not None else nn.Identity
            blocks = [
                MixerBlock(
                    token_mixer(mixers[i], dim, kernel_size=token_kernels[i], operators=token_operators),
                    ConvNeXtFFN(dim, channel_kernels[i], operators, expansion_ratio=expansion_ratio),
                    scale=scale,
                    drop_path=rates[sum(depths[:i]) + j],
                )
                for j in range(depth)
            ]
            downsample = parts.downsample(dims[i - 1], dim, operators) if i else nn.Identity()
            self.stages.append(Stage(downsample, blocks))
            self.feature_info.append({"num_chs": dim, "reduction": 4 * 2**i, "module": f"stages.{i}"})

        make_norm = partial(LayerNorm2d, **factory) if feature_norms else lambda dim: nn.Identity()
        self.feature_norms = nn.ModuleList(make_norm(dim) for dim in dims)
        self.head = parts.head(self.num_features, num_classes, global_pool=global_pool, drop_rate=drop_rate, **factory)
        self.head_hidden_size = self.head.hidden_size
        self.apply(init_weights)

    @torch.jit.ignore
    def group_matcher(self, coarse: bool = False) -> dict:
        """Groups for layer-wise learning rates: the stem, stages (`coarse`) or blocks with downsampling, the rest."""
        blocks = [(r"^stages\.(\d+)\.downsample", (0,)), (r"^stages\.(\d+)\.blocks\.(\d+)", None)]
        return {"stem": r"^stem", "blocks": r"^stages\.(\d+)" if coarse else blocks}

    @torch.jit.ignore
    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory: recompute the activations inside blocks in the backward pass."""
        for stage in self.stages:
            stage.grad_checkpointing = enable

    @torch.jit.ignore
    def get_classifier(self) -> nn.Module:
        """The last linear layer."""
        return self.head.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the last linear layer by a new one (0 classes: none) of the same device and dtype."""
        self.num_classes = num_classes
        if global_pool is not None:
            self.head.reset_pool(global_pool)
        like = next(self.stem.parameters())
        fc = (
            nn.Linear(self.head_hidden_size, num_classes, device=like.device, dtype=like.dtype)
            if num_classes > 0
            else nn.Identity()
        )
        self.head.fc = fc.apply(init_weights).train(self.training)

    def forward_features(self, x: Tensor) -> Tensor:
        """x: (B, 3, H, W), H and W at least 32 -> (B, C, H/32, W/32)."""
        check_image(x, self.in_chans)
        return self.stages(self.stem(x))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """x: (B, C, H, W) -> logits (B, classes)."""
        return self.head(x, pre_logits=pre_logits)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, 3, H, W) -> logits (B, classes)."""
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """The features of the stages in `indices` (None: all; n: the last n), and the result of `forward_features`.

        norm: apply the classifier's norm to the last stage's features.
        """
        if output_fmt != "NCHW":
            raise InputError(f"output_fmt {output_fmt!r}, expected 'NCHW'")
        wanted, last = feature_take_indices(len(self.stages), indices)
        check_image(x, self.in_chans)
        x = self.stem(x)
        intermediates = []
        for i, (stage, feature_norm) in enumerate(zip(self.stages, self.feature_norms, strict=True)):
            if stop_early and i > last:
                break
            x = stage(x)
            if i in wanted:
                is_last = i == len(self.stages) - 1
                intermediates.append(self.head.norm(x) if norm and is_last else feature_norm(x))
        return intermediates if intermediates_only else (x, intermediates)

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Remove what the features in `indices` don't need; returns them as non-negative indices."""
        wanted, last = feature_take_indices(len(self.stages), indices)
        self.stages = self.stages[: last + 1]
        self.feature_norms = nn.ModuleList(
            norm if i in wanted else nn.Identity() for i, norm in enumerate(self.feature_norms[: last + 1])
        )
        if prune_norm:
            self.head.norm = nn.Identity()
        if prune_head:
            self.reset_classifier(0, "")
        return wanted


_LARGE = {"channel_kernels": (7, 7, 7, 7)}

VARIANTS: dict[str, dict] = {
    "ffnet_nano": {"depths": (2, 2, 4, 1), "dims": (32, 64, 128, 256), "stem_dim": 16},
    "ffnet_1": {"depths": (2, 2, 8, 2), "dims": (80, 160, 320, 640)},
    "ffnet_1_hybrid": {
        "depths": (2, 2, 8, 2),
        "dims": (80, 160, 320, 640),
        "mixers": ("ffnified", "ffnified", "ffnified", "attention"),
    },
    "ffnet_2": {"depths": (3, 3, 15, 3), "dims": (88, 176, 352, 704), **_LARGE},
    "ffnet_3": {"depths": (4, 4, 22, 5), "dims": (96, 192, 384, 768), "layer_scale": 1e-6, **_LARGE},
    "ffnet_4": {"depths": (4, 4, 27, 3), "dims": (128, 256, 512, 1024), "layer_scale": 1e-6, **_LARGE},
    "ffnet_seg": {
        "depths": (3, 4, 18, 5),
        "dims": (96, 192, 384, 768),
        "token_kernels": (3, 3, 9, 9),
        "expansion_ratio": 4,
        "layer_scale": 1e-6,
        "parts": SEGMENTATION_PARTS,
    },
}
"""Keywords of each variant; `ffnet_nano` and `ffnet_1_hybrid` are ours, the others the paper's."""


def _cfg(*, size: int = 256, crop_pct: float = 0.95) -> dict:
    return {
        "num_classes": 1000,
        "input_size": (3, size, size),
        "pool_size": (size // STRIDE, size // STRIDE),
        "crop_pct": crop_pct,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "stem.0.conv",
        "classifier": "head.fc",
        "license": "apache-2.0",
        "paper_ids": "arXiv:2406.02021",
    }


_CONFIGURATIONS = {
    "ffnet_nano.mini_imagenet": {**_cfg(size=96, crop_pct=1.0), "num_classes": 100},
    "ffnet_nano.untrained*": _cfg(size=96, crop_pct=1.0),
    "ffnet_1.in1k": _cfg(crop_pct=0.9),
    "ffnet_1.distilled_in1k": _cfg(crop_pct=0.9),
    "ffnet_1_hybrid.untrained": _cfg(crop_pct=0.9),
    "ffnet_2.in1k": _cfg(crop_pct=0.9),
    "ffnet_2.distilled_in1k": _cfg(crop_pct=0.9),
    "ffnet_3.in1k": _cfg(),
    "ffnet_3.distilled_in1k": _cfg(),
    "ffnet_3.in1k_384": _cfg(size=384),
    "ffnet_4.in1k_384": _cfg(size=384),
    "ffnet_seg.in1k": _cfg(),
}
"""By timm's names; the tag with * tells the defaults of a network by its bare name, such as its 1000 classes."""

_SOURCES = {each.name: {"file": str(source_of(each))} if each.packaged else {"url": each.url} for each in WEIGHTS}
default_cfgs = generate_default_cfgs({tag: {**cfg, **_SOURCES.get(tag, {})} for tag, cfg in _CONFIGURATIONS.items()})


def build_ffnet(
    variant: str,
    pretrained: bool = False,
    pretrained_cfg: str | dict | None = None,
    pretrained_cfg_overlay: dict | None = None,
    **kwargs,
) -> nn.Module:
    """Entry point for timm: the variant's keywords, overridden by the caller's."""
    if pretrained:
        if pretrained_cfg is None and (known := weights_of(variant)):
            pretrained_cfg = known[0].name.partition(".")[2]
        pretrained_cfg_overlay = overlay_with_weights(variant, pretrained_cfg, pretrained_cfg_overlay)
    settings = {**VARIANTS[variant], **kwargs}
    network = build_model_with_cfg(
        FFNet,
        variant,
        pretrained,
        pretrained_cfg=pretrained_cfg,
        pretrained_cfg_overlay=pretrained_cfg_overlay,
        pretrained_filter_fn=checkpoint_filter_fn,
        feature_cfg={"out_indices": tuple(range(len(settings["depths"]))), "feature_cls": "getter"},
        **settings,
    )
    return forget_weights(network)


def _register(variant: str) -> None:
    def entrypoint(pretrained: bool = False, **kwargs) -> nn.Module:
        return build_ffnet(variant, pretrained, **kwargs)

    entrypoint.__name__ = entrypoint.__qualname__ = variant
    globals()[variant] = register_model(entrypoint)


for _variant in VARIANTS:
    _register(_variant)
