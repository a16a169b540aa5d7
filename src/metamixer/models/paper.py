"""What the paper reports, for the tables that show ours beside it."""

TOP1: dict[str, float] = {
    "ffnet_1.in1k": 81.3,
    "ffnet_1.distilled_in1k": 82.1,
    "ffnet_2.in1k": 82.9,
    "ffnet_2.distilled_in1k": 83.7,
    "ffnet_3.in1k": 83.9,
    "ffnet_3.distilled_in1k": 84.5,
    "ffnet_3.in1k_384": 84.5,
    "ffnet_4.in1k_384": 85.3,
}
"""ImageNet-1K top-1 in percent of the weights that the authors published (paper, table 2), by timm's name for them."""
