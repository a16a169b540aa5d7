"""The info that published weights don't contain: keywords, classes and preprocessing, by task."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ..data.detection.categories import coco_categories
from ..data.detection.transforms import DetectionPreprocessing
from ..data.images.class_names import imagenet_names
from ..data.points.class_names import S3DIS_CLASSES, SCANNET200_CLASSES, SCANNET_CLASSES
from ..data.points.voxelization import PointPreprocessing
from ..data.preprocessing import Preprocessing
from ..data.segmentation.label_maps import read_classes
from ..data.segmentation.transforms import SegmentationPreprocessing
from ..errors import InputError
from ..models import list_models
from ..models.registry import expect_classifier, task_of
from ..models.tasks import CLASSIFICATION, DETECTION, POINTS, SEGMENTATION, SUPER_RESOLUTION, same_predictor
from .ours import network_info

SEGMENTERS = {
    150: ("ade20k", SegmentationPreprocessing(short_side=512)),
    19: ("cityscapes", SegmentationPreprocessing(window=1024, stride=768)),
}
"""Classes and preprocessing of the authors' segmenters, by the number of classes."""

POINT_SEGMENTERS: dict[int, tuple[tuple[str, ...], str]] = {
    13: (S3DIS_CLASSES, "relu"),
    20: (SCANNET_CLASSES, "gelu"),
    200: (SCANNET200_CLASSES, "gelu"),
}
"""Classes and activation of the authors' point segmenters, by the number of classes; all use `PointPreprocessing()`.
"""

POINT_MODEL = "ffnet_3d"
"""The only point network that the authors published."""

A_SEGMENTER = "a published segmenter such as ffnet_seg_ade20k or upernet_ffnet_2"
EXPECTED = {
    DETECTION.name: "a detector such as cascade_mask_rcnn_ffnet_2",
    SEGMENTATION.name: A_SEGMENTER,
    POINTS.name: f"{POINT_MODEL}, the only published point network",
}
"""The expected networks of a task in messages; other tasks list theirs."""


def expect_model(model: str, task: str) -> None:
    """Raise InputError for a network of another task; unknown names are left to `create_model`."""
    if task == CLASSIFICATION.name:
        expect_classifier(model)
    elif not same_predictor(published_task(model), task):
        raise InputError(f"model {model!r}, expected {EXPECTED.get(task) or 'one of ' + ', '.join(list_models(task))}")


def published_task(model: str) -> str:
    """The task of a network by name; timm's own are classifiers."""
    return (task_of(model) if model in list_models() else CLASSIFICATION).name


def published_arguments(model: str, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The keywords of `create_model` that follow from the shapes of a published state dict."""
    own = {POINTS.name: _point_arguments, SUPER_RESOLUTION.name: _upscaler_arguments}.get(published_task(model))
    return own(model, state) if own else {}


def published_info(model: str, network: nn.Module, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`network_info` of a network built by name; a classifier with 1000 classes has ImageNet's."""
    task = published_task(model)
    own = {
        CLASSIFICATION.name: classifier_info,
        DETECTION.name: _detector_info,
        SEGMENTATION.name: _segmenter_info,
        POINTS.name: _point_segmenter_info,
    }.get(task)
    return {**network_info(model, dict(arguments), task=task), **(own(network) if own else {})}


def classifier_info(network: nn.Module) -> dict[str, Any]:
    """The info in a timm network's configuration."""
    config = network.pretrained_cfg
    told = {key: config[key] for key in ("crop_pct", "interpolation", "mean", "std")}
    return {
        "model_args": {"num_classes": network.num_classes},
        "classes": imagenet_names(network.num_classes),
        "preprocessing": Preprocessing(size=config["input_size"][-1], **told).as_dict(),
    }


def _detector_info(network: nn.Module) -> dict[str, Any]:
    categories = coco_categories()
    if network.num_classes != len(categories):
        return {}
    preprocessing = DetectionPreprocessing().as_dict()
    return {"classes": list(categories.values()), "category_ids": list(categories), "preprocessing": preprocessing}


def _segmenter_info(network: nn.Module) -> dict[str, Any]:
    if network.num_classes not in SEGMENTERS:
        return {}
    name, preprocessing = SEGMENTERS[network.num_classes]
    classes = read_classes(name)
    return {"classes": list(classes.names), "colours": classes.colours, "preprocessing": preprocessing.as_dict()}


def _point_segmenter_info(network: nn.Module) -> dict[str, Any]:
    classes, _ = POINT_SEGMENTERS.get(network.num_classes, (None, None))
    return {"classes": classes and list(classes), "preprocessing": PointPreprocessing().as_dict()}


def _point_arguments(model: str, state: Mapping[str, Tensor]) -> dict[str, Any]:
    if model != POINT_MODEL:
        raise InputError(f"model {model!r}, expected {EXPECTED[POINTS.name]}")
    head = _last_layer(state, "head.weight")
    if head is None or len(head) not in POINT_SEGMENTERS:
        found = "no head" if head is None else f"a head of {len(head)} classes"
        raise InputError(f"{found}, expected one of 13 (S3DIS), 20 (ScanNet) or 200 (ScanNet200) classes")
    _, act = POINT_SEGMENTERS[len(head)]
    return {"in_chans": PointPreprocessing().in_chans, "num_classes": len(head), "act": act}


def _upscaler_arguments(model: str, state: Mapping[str, Tensor]) -> dict[str, Any]:
    head = _last_layer(state, "conv_bef_up.weight", "head.weight")
    return {} if head is None else {"scale": round((len(head) / 3) ** 0.5)}  # 3 colors of scale ** 2 pixels


def _last_layer(state: Mapping[str, Tensor], *names: str) -> Tensor | None:
    return next((value for key, value in state.items() if key.endswith(names)), None)
