"""ImageNet-1K accuracy of our networks and those they are compared with, each at its own image size."""

from typing import NamedTuple

from ..zoo.weights import WEIGHTS


class Accuracy(NamedTuple):
    """Top-1 in percent of weights trained on ImageNet-1K only; distilled: from a larger teacher."""

    top1: float
    distilled: bool = False


TOP1 = {weights.name: weights.figures[0] for weights in WEIGHTS if weights.figures}

PUBLISHED: dict[tuple[str, int], Accuracy] = {
    ("ffnet_1", 256): Accuracy(TOP1["ffnet_1.in1k"]),
    ("ffnet_2", 256): Accuracy(TOP1["ffnet_2.in1k"]),
    ("ffnet_3", 256): Accuracy(TOP1["ffnet_3.in1k"]),
    ("ffnet_4", 384): Accuracy(TOP1["ffnet_4.in1k_384"]),
    ("convnext_tiny", 224): Accuracy(82.07),
    ("fastvit_sa12", 256): Accuracy(80.85),
    ("fastvit_sa24", 256): Accuracy(82.71),
    ("repvit_m1_5", 224): Accuracy(82.52, distilled=True),
    ("mobilenetv4_conv_large", 256): Accuracy(81.86),
    ("mobilenetv4_conv_large", 384): Accuracy(82.97),
    ("efficientvit_b2", 224): Accuracy(82.16),
    ("efficientvit_b2", 256): Accuracy(82.71),
    ("efficientformerv2_l", 224): Accuracy(83.64, distilled=True),
    ("caformer_s18", 224): Accuracy(83.66),
    ("swin_tiny_patch4_window7_224", 224): Accuracy(81.39),
}
"""By network and side in pixels; ours from the paper (table 2), the others as measured by timm's authors
(`results/results-imagenet.csv` of timm's repository at commit aa4b585, weights trained on ImageNet-1K only)."""
