"""metamixer models"""

import timm
import torch
from torch import nn

from ..bench.complexity import measure, measure_deploy_form
from ..errors import InputError
from ..models import create_model, list_models
from ..models.paper import BOX_AND_MASK_AP, ETT_MSE_AND_MAE, MIOU, POINTS_MIOU, SET5_PSNR, TOP1
from ..ops.fusion import fuse

OURS = "ours"


def models() -> None:
    """List the networks: parameters and multiply-accumulates in deploy form, and the paper's accuracy."""
    for list_task in (_list_classifiers, _list_detectors, _list_segmenters, _list_upscalers, _list_forecasters, _list_point_networks):
        list_task()


def _list_classifiers() -> None:
    print(_row("network", "params", "MACs", "pixels", "top-1 (paper)"))
    for name in list_models("classification"):
        for tag in timm.list_models(name, include_tags=True):
            size = timm.get_pretrained_cfg(tag).input_size[-1]
            complexity = measure_deploy_form(name, size)
            accuracy = f"{TOP1[tag]:.1f}" if tag in TOP1 else OURS if tag.endswith(".untrained") else "not stated"
            print(_row(tag, _millions(complexity.params), _billions(complexity.macs), str(size), accuracy))


def _list_detectors() -> None:
    print(_row("detector", "params", "", "", "box / mask AP (paper)"))
    for name in list_models("detection"):
        precision = "{:.1f} / {:.1f}".format(*BOX_AND_MASK_AP[name]) if name in BOX_AND_MASK_AP else OURS
        print(_row(name, _millions(_parameters(_deploy_form(name))), "", "", precision))


def _list_segmenters() -> None:
    print(_row("segmenter", "params", "MACs", "pixels", "mIoU (paper)"))
    for name in list_models("segmentation"):
        height, width = (1024, 2048) if name.endswith("cityscapes") else (512, 512)
        try:
            network = _deploy_form(name)
        except InputError as error:  # the U-Net and UPerNet need an extra
            print(f"{name:28s} {error}")
            continue
        complexity = measure(network, torch.empty(1, 3, height, width, device="meta"))
        accuracy = f"{MIOU[name]:.1f}" if name in MIOU else OURS
        print(_row(name, _millions(complexity.params), _billions(complexity.macs), f"{height}x{width}", accuracy))


def _list_upscalers() -> None:
    print(_row("super-resolution, x2", "params", "MACs", "pixels", "PSNR on Set5 (paper)"))
    for name in list_models("super_resolution"):
        complexity = measure(_deploy_form(name), torch.empty(1, 3, 256, 256, device="meta"))
        accuracy = f"{SET5_PSNR[name]:.2f} dB" if name in SET5_PSNR else OURS
        print(_row(name, _millions(complexity.params), _billions(complexity.macs), "256", accuracy))


def _list_forecasters() -> None:
    print(_row("forecaster", "params", "", "", "MSE / MAE on ETT (paper)"))
    for name in list_models("forecasting"):
        print(_row(name, _millions(_parameters(_deploy_form(name))), "", "", "{:.3f} / {:.3f}".format(*ETT_MSE_AND_MAE[name])))


def _list_point_networks() -> None:
    print(_row("points", "params", "", "", "mIoU (paper)"))
    for name in list_models("points"):
        print(_row(name, _millions(_parameters(_deploy_form(name))), "", "", POINTS_MIOU.get(name, OURS)))


def _deploy_form(name: str) -> nn.Module:
    """A network with its default settings, without memory behind its weights."""
    with torch.device("meta"):
        return fuse(create_model(name))


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _row(name: str, params: str, macs: str, pixels: str, accuracy: str) -> str:
    return f"{name:28s}{params:>9s}{macs:>11s}{pixels:>11s}{accuracy:>26s}".rstrip()


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f} M"


def _billions(count: int) -> str:
    return f"{count / 1e9:.2f} G"
