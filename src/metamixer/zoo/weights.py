"""All files of weights by name: the authors' release and the packaged weights.

One entry makes a file available in `create_model(NAME, pretrained=True)`, the commands, the predictors and
`metamixer models`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError
from ..system.downloads import RELEASE
from .networks import NETWORKS, OTHER_SIZES, Network

DATA: dict[str, str] = {
    "ImageNet-1K": "image-net.org, for non-commercial research",
    "mini-ImageNet": "100 of ImageNet's classes at 84 px, github.com/Deo0330/split_minidataset, under ImageNet's terms",
    "COCO 2017": "cocodataset.org, annotations CC BY 4.0, images under Flickr's terms",
    "ADE20K": "ade20k.csail.mit.edu, for non-commercial research",
    "Cityscapes": "cityscapes-dataset.com, for non-commercial research",
    "CamVid": "mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid, published for research",
    "DIV2K": "data.vision.ee.ethz.ch/cvl/DIV2K, for academic research",
    "DF2K": "DIV2K and Flickr2K, for academic research",
    "491 images": "T91, BSDS200 and the 200 new test images of BSDS500, published for research",
    "891 images": "Train400 (github.com/cszn/DnCNN), T91, BSDS200 and the 200 new test images of BSDS500, "
    "published for research",
    "SemanticKITTI": "semantic-kitti.org, CC BY-NC-SA 4.0, on KITTI's scans",
    "synthetic series": "made by metamixer.data.series.synthetic",
}
"""Training data -> its source and terms of use."""

PAPER = "paper, arXiv 2406.02021"

SHA256: dict[str, str] = {
    "ffnet_nano.mini_imagenet": "8bcfa4f7c1145fe9b295ae537ee14a86c7382129fcd57fcd6244b5419720b71e",
    "ffnet_head_ffnet_nano_camvid": "485cf2cefe8142e4efe196b4dedc277f3817c141bf93db1b38583cbb8876796c",
    "ffnet_sr_nano_x2": "b516cdb8bdbbaf596c86caa69555a6ce2ca02ab157e8fdcbad50de58f9197f66",
    "ffnet_sr_nano_x3": "1d4ca03027450f23d8bfc9ed779d9a912eb8357abe43e4d3ec75c630111c7183",
    "ffnet_sr_nano_x4": "66882b1b1577182d1881c5637503a671727f644811b63f117bfd46715cb7ba9c",
    "ffnet_restore": "2f7acf1b2e91f8f3705ac8228a78611350d44cf2fca04f6dbb724e881f64d85e",
    "ffnet_restore_gray": "104b26f0f0e7acecff0bf77db1d39ceb4a0cce83ee04f98d816c9d9fd97ab852",
    "ffnet_photograph_x2": "5e73dd5f35ff274dd0e72c243d6df736fd61d62729cee2aa32a1d03b6aeb2cf3",
    "ffnet_photograph_x3": "d47ac6969cb8e735c4124f580c2ec08d03cac11f4631f19b2c233b682f5bdd73",
    "ffnet_photograph_x4": "5c940332e59c057ffa84d81e24754cc169561ea6552386ecd2e0c3a5c8c553a6",
    "ffnet_ts_zero": "ffff48f0d31b5d9376396565bcaf30afac672dad73731d7afb9e05e7223dd79d",
    "ffnet_3d_nano_semantickitti": "1d0bcd7023e4c0135339f967e4ca736014c8885cbd84f71e8924d17b0fa9c94b",
}
"""Name of packaged weights -> the hash of their file."""


@dataclass(frozen=True)
class Weights:
    """A file of trained weights.

    Args:
        name: name of the weights; for a classifier also its name in timm.
        network: name of the network.
        file: file name in the release, or in the package's folder `weights`.
        megabytes: file size; for a published file, the size of its weights in float32, which the file may exceed.
        classes: number of classes; None for a network without classes.
        data: the training data, a key of `DATA`.
        figures: values of the task's metric; measured: their source.
        tests: what each was measured on, the set first, if the metric's name doesn't say it.
        arguments: keywords of the network.
        packaged: whether the file is in the package.
        sha256: of the file; None: unknown, so the hash of the first download is stored.
    """

    name: str
    network: str
    file: str
    megabytes: float
    data: str
    classes: int | None = None
    figures: tuple[float, ...] = ()
    measured: str = PAPER
    tests: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    packaged: bool = False
    sha256: str | None = None
    licence: str = "Apache-2.0"

    @property
    def size(self) -> Network:
        """Size and task of its network."""
        return OTHER_SIZES.get(self.name) or NETWORKS[self.network]

    @property
    def task(self) -> str:
        """The task of its network."""
        return self.size.task

    @property
    def url(self) -> str:
        """URL of a published file, with its checksum if known."""
        return f"{RELEASE}/{self.file}" + (f"#sha256={self.sha256}" if self.sha256 else "")


def _imagenet(name: str, file: str, megabytes: int, *top1: float) -> Weights:
    network = name.partition(".")[0]
    return Weights(name, network, file, megabytes, "ImageNet-1K", classes=1000, figures=top1)


def _coco(number: int, suffix: str, megabytes: int, *ap: float) -> Weights:
    name = f"cascade_mask_rcnn_ffnet_{number}"
    file = f"casc_mask_rcnn_ffnet_{number}_fpn_3x_coco{suffix}"
    return Weights(name, name, file, megabytes, "COCO 2017", classes=80, figures=ap)


def _segmenter(name: str, file: str, megabytes: int, miou: float) -> Weights:
    data, classes = ("Cityscapes", 19) if "cityscapes" in name else ("ADE20K", 150)
    return Weights(name, name, file, megabytes, data, classes=classes, figures=(miou,))


def _upscaler(name: str, file: str, megabytes: int, data: str, psnr: float) -> Weights:
    return Weights(name, name, file, megabytes, data, figures=(psnr,), arguments={"scale": 2})


def _packaged(
    name: str, network: str, megabytes: float, data: str, *figures: float, measured: str, **more: Any
) -> Weights:
    return Weights(
        name,
        network,
        f"{name.replace('.', '_')}.safetensors",
        megabytes,
        data,
        figures=figures,
        measured=f"benchmarks/{measured}.py",
        packaged=True,
        sha256=SHA256[name],
        **more,
    )


def _nano_upscaler(scale: int, megabytes: float, psnr: float) -> Weights:
    return _packaged(
        f"ffnet_sr_nano_x{scale}",
        "ffnet_sr_nano",
        megabytes,
        "491 images",
        psnr,
        measured="super_resolution",
        arguments={"scale": scale},
    )


def _photograph(scale: int, psnr: float) -> Weights:
    return _packaged(
        f"ffnet_photograph_x{scale}",
        "ffnet_photograph",
        0.95,
        "491 images",
        psnr,
        measured="photograph_enlarging",
        tests=("Set5, JPEG of quality 75",),
        arguments={"in_chans": 3, "scale": scale},
    )


WEIGHTS: tuple[Weights, ...] = (
    _packaged("ffnet_nano.mini_imagenet", "ffnet_nano", 2.6, "mini-ImageNet", 58.6, measured="backbone", classes=100),
    _imagenet("ffnet_1.in1k", "ffnet_1.pth.tar", 55, 81.3),
    _imagenet("ffnet_1.distilled_in1k", "ffnet_1_distillation.pth.tar", 55, 82.1),
    _imagenet("ffnet_2.in1k", "ffnet_2.pth.tar", 109, 82.9),
    _imagenet("ffnet_2.distilled_in1k", "ffnet_2_distillation.pth.tar", 109, 83.7),
    _imagenet("ffnet_3.in1k", "ffnet_3.pth.tar", 196, 83.9),
    _imagenet("ffnet_3.distilled_in1k", "ffnet_3_distillation.pth.tar", 196, 84.5),
    _imagenet("ffnet_3.in1k_384", "ffnet_3_384.pth.tar", 196, 84.5),
    _imagenet("ffnet_4.in1k_384", "ffnet_4_384.pth.tar", 321, 85.3),
    _imagenet("ffnet_seg.in1k", "ffnet_seg.pth.tar", 270),
    _coco(2, ".pth", 339, 51.8, 44.9),
    _coco(3, ".pth", 425, 52.8, 45.6),
    _coco(4, ".zip", 549, 53.4, 45.9),
    _packaged(
        "ffnet_head_ffnet_nano_camvid", "ffnet_head_ffnet_nano", 3.4, "CamVid", 71.2, measured="camvid", classes=11
    ),
    _segmenter("upernet_ffnet_2", "upernet_ffnet_2_512_160k_ade20k.pth", 234, 47.1),
    _segmenter("upernet_ffnet_3", "upernet_ffnet_3_512_160k_ade20k.pth", 323, 49.6),
    _segmenter("upernet_ffnet_4", "upernet_ffnet_4_512_160k_ade20k.pth", 455, 50.7),
    _segmenter("ffnet_seg_ade20k", "ffnet_seg_sys_512_160k_ade20k.pth", 275, 50.1),
    _segmenter("ffnet_seg_cityscapes", "ffnet_seg_sys_1024_160k_cityscapes.pth", 272, 83.2),
    _nano_upscaler(2, 0.7, 37.54),
    _nano_upscaler(3, 0.7, 33.67),
    _nano_upscaler(4, 0.8, 31.45),
    _upscaler("ffnet_sr_light", "FFNetSR_light_DIV2K_2.pth", 7, "DIV2K", 38.23),
    _upscaler("ffnet_sr", "FFNetSR_DF2K_2.pth", 10, "DF2K", 38.32),
    _packaged(
        "ffnet_restore",
        "ffnet_restore",
        0.6,
        "491 images",
        33.80,
        33.74,
        measured="restoration",
        tests=("val_color, noise of 25", "val_color, JPEG of quality 20"),
        arguments={"in_chans": 3, "scale": 1},
    ),
    _packaged(
        "ffnet_restore_gray",
        "ffnet_restore",
        0.6,
        "891 images",
        30.29,
        31.65,
        measured="restoration",
        tests=("Set12, noise of 25", "Classic5, JPEG of quality 20"),
        arguments={"in_chans": 1, "scale": 1},
    ),
    _photograph(2, 33.31),
    _photograph(3, 30.56),
    _photograph(4, 28.77),
    _packaged(
        "ffnet_ts_zero",
        "ffnet_ts_zero",
        2.5,
        "synthetic series",
        0.873,
        measured="zero_shot",
        arguments={"depth": 7, "dim": 144},
    ),
    _packaged(
        "ffnet_3d_nano_semantickitti",
        "ffnet_3d_nano",
        3.5,
        "SemanticKITTI",
        37.5,
        measured="semantickitti",
        classes=19,
        arguments={"in_chans": 2},
        licence="CC BY-NC-SA 4.0",
    ),
)
"""In the order of `metamixer models`; a network's bare name means its first entry."""


def weights_of(network: str) -> list[Weights]:
    """The weights of a network."""
    return [weights for weights in WEIGHTS if weights.network == network]


def weights_for(task: str, network: str | None = None) -> list[Weights]:
    """The weights for a task, or those of one of its networks."""
    return [weights for weights in WEIGHTS if weights.task == task and network in (None, weights.network)]


def find_weights(name: str, **arguments) -> Weights | None:
    """The weights of this name, or the network's first weights whose keywords match.

    None for a network without weights; raises InputError if it only has weights for other keywords.
    """
    known = [weights for weights in WEIGHTS if name in (weights.name, weights.network)]
    known.sort(key=lambda weights: weights.name != name)
    for weights in known:
        if _agrees(weights, arguments):
            return weights
    if known:
        asked = {key: value for key, value in arguments.items() if key in known[0].arguments}
        raise InputError(f"{name}: no weights for {_listed([asked])}, expected {_listed(w.arguments for w in known)}")
    return None


def _agrees(weights: Weights, arguments: Mapping[str, Any]) -> bool:
    return all(arguments.get(key, value) == value for key, value in weights.arguments.items())


def _listed(arguments: Iterable[Mapping[str, Any]]) -> str:
    return " or ".join(" ".join(f"{key} {value}" for key, value in each.items()) for each in arguments)


def default_weights(task: str, **arguments) -> Weights | None:
    """A task's default weights: packaged before published, then the smallest, then the best."""
    known = [each for each in WEIGHTS if each.task == task and _agrees(each, arguments)]
    return min(
        known, key=lambda weights: (not weights.packaged, weights.megabytes, -sum(weights.figures)), default=None
    )
