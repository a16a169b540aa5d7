"""Results reported in the paper, for comparison with ours."""

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

BOX_AND_MASK_AP: dict[str, tuple[float, float]] = {
    "cascade_mask_rcnn_ffnet_2": (51.8, 44.9),
    "cascade_mask_rcnn_ffnet_3": (52.8, 45.6),
    "cascade_mask_rcnn_ffnet_4": (53.4, 45.9),
}
"""COCO val2017 average precision of boxes and masks in percent (paper, detection table)."""

MIOU: dict[str, float] = {
    "ffnet_seg_ade20k": 50.1,
    "ffnet_seg_cityscapes": 83.2,
    "upernet_ffnet_2": 47.1,
    "upernet_ffnet_3": 49.6,
    "upernet_ffnet_4": 50.7,
}
"""Mean intersection over union in percent at one scale on ADE20K and Cityscapes val (paper, segmentation tables)."""

SET5_PSNR: dict[str, float] = {"ffnet_sr_light": 38.23, "ffnet_sr": 38.32}
"""PSNR of the luminance in dB on Set5 at x2 (paper, super-resolution table)."""

POINTS_MIOU: dict[str, str] = {"ffnet_3d": "76.5 / 34.5 / 77.1"}
"""Mean IoU in percent on ScanNet v2, ScanNet200 and S3DIS (paper, section 4.5)."""

ETT_MSE_AND_MAE: dict[str, tuple[float, float]] = {"ffnet_ts": (0.376, 0.390)}
"""Mean of the four ETT sets and of the horizons 96, 192, 336 and 720 at lookback 96 (table 5)."""
