"""The size of every network, and the paper's figures for those without published weights."""

from dataclasses import dataclass

CLASSIFICATION = "classification"
DETECTION = "detection"
SEGMENTATION = "segmentation"
SUPER_RESOLUTION = "super_resolution"
RESTORATION = "restoration"
FORECASTING = "forecasting"
ZERO_SHOT = "zero_shot_forecasting"
POINTS = "points"


@dataclass(frozen=True)
class Metric:
    """A task's heading in `metamixer models`, and the metric of its figures with its number of decimals."""

    heading: str
    name: str
    decimals: int = 1


METRICS: dict[str, Metric] = {
    CLASSIFICATION: Metric("network", "top-1, %"),
    DETECTION: Metric("detector", "box / mask AP, %"),
    SEGMENTATION: Metric("segmenter", "mIoU, %"),
    SUPER_RESOLUTION: Metric("super-resolution", "PSNR on Set5, dB", 2),
    RESTORATION: Metric("restoration", "PSNR, dB", 2),
    FORECASTING: Metric("forecaster", "MSE / MAE on ETT", 3),
    ZERO_SHOT: Metric("zero-shot forecaster", "MASE on 23 sets", 3),
    POINTS: Metric("points", "mIoU, %"),
}
"""By task, in the order of `metamixer models`."""


@dataclass(frozen=True)
class Network:
    """A network's size in deploy form.

    macs: multiply-accumulates for one image of `pixels` (height, width); figures: the paper's, for a network without
    published weights.
    """

    task: str
    parameters: int
    macs: int | None = None
    pixels: tuple[int, int] | None = None
    figures: tuple[float, ...] = ()


NETWORKS: dict[str, Network] = {
    "ffnet_nano": Network(CLASSIFICATION, 1_455_176, 47_335_936, (96, 96)),
    "ffnet_1": Network(CLASSIFICATION, 13_658_872, 2_984_829_952, (256, 256)),
    "ffnet_1_hybrid": Network(CLASSIFICATION, 15_992_312, 3_144_573_952, (256, 256)),
    "ffnet_2": Network(CLASSIFICATION, 26_907_032, 6_003_351_040, (256, 256)),
    "ffnet_3": Network(CLASSIFICATION, 48_302_216, 10_146_232_320, (256, 256)),
    "ffnet_4": Network(CLASSIFICATION, 79_161_448, 43_122_171_904, (384, 384)),
    "ffnet_seg": Network(CLASSIFICATION, 66_059_048, 13_766_477_824, (256, 256)),
    "cascade_mask_rcnn_ffnet_nano": Network(DETECTION, 5_085_330),
    "cascade_mask_rcnn_ffnet_2": Network(DETECTION, 84_279_986),
    "cascade_mask_rcnn_ffnet_3": Network(DETECTION, 105_642_130),
    "cascade_mask_rcnn_ffnet_4": Network(DETECTION, 136_369_202),
    "ffnet_head_ffnet_nano": Network(SEGMENTATION, 1_603_339, 2_990_145_536, (512, 512)),
    "ffnet_head_ffnet_1": Network(SEGMENTATION, 14_541_915, 18_167_922_688, (512, 512)),
    "ffnet_seg_ade20k": Network(SEGMENTATION, 67_207_958, 73_377_316_864, (512, 512)),
    "ffnet_seg_cityscapes": Network(SEGMENTATION, 66_412_435, 560_929_964_032, (1024, 2048)),
    "unet_mobilenetv3_small": Network(SEGMENTATION, 1_959_683, 3_219_832_832, (512, 512)),
    "upernet_ffnet_1": Network(SEGMENTATION, 43_602_182, 222_909_857_792, (512, 512)),
    "upernet_ffnet_2": Network(SEGMENTATION, 57_241_238, 235_178_262_528, (512, 512)),
    "upernet_ffnet_3": Network(SEGMENTATION, 79_027_318, 251_944_108_032, (512, 512)),
    "upernet_ffnet_4": Network(SEGMENTATION, 111_450_134, 288_800_374_784, (512, 512)),
    "ffnet_sr_nano": Network(SUPER_RESOLUTION, 167_308, 10_754_195_456, (256, 256)),
    "ffnet_sr_light": Network(SUPER_RESOLUTION, 1_789_452, 115_681_001_472, (256, 256)),
    "ffnet_sr": Network(SUPER_RESOLUTION, 2_381_580, 153_958_219_776, (256, 256)),
    "ffnet_restore": Network(RESTORATION, 285_772, 4_592_762_880, (256, 256)),
    "ffnet_photograph": Network(RESTORATION, 453_080, 15_346_958_336, (256, 256)),
    "ffnet_ts": Network(FORECASTING, 495_136, figures=(0.376, 0.390)),
    "ffnet_ts_zero": Network(ZERO_SHOT, 868_352),
    "ffnet_3d": Network(POINTS, 103_184_864, figures=(76.5, 34.5, 77.1)),
    "ffnet_3d_nano": Network(POINTS, 1_746_960),
    "sparse_unet_nano": Network(POINTS, 1_752_210),
}
"""By name.

Figures: for `ffnet_ts`, the mean over the four ETT sets and the horizons 96, 192, 336 and 720 at lookback 96 (table 5);
for `ffnet_3d`, ScanNet v2, ScanNet200 and S3DIS (section 4.5).
"""

OTHER_SIZES: dict[str, Network] = {
    "ffnet_nano.mini_imagenet": Network(CLASSIFICATION, 1_223_876, 47_105_536, (96, 96)),
    "ffnet_3.in1k_384": Network(CLASSIFICATION, 48_302_216, 22_828_062_720, (384, 384)),
    "ffnet_sr_nano_x3": Network(SUPER_RESOLUTION, 175_963, 11_320_426_496, (256, 256)),
    "ffnet_sr_nano_x4": Network(SUPER_RESOLUTION, 188_080, 12_113_149_952, (256, 256)),
    "ffnet_restore_gray": Network(RESTORATION, 276_548, 4_441_767_936, (256, 256)),
    "ffnet_photograph_x3": Network(RESTORATION, 461_735, 15_913_189_376, (256, 256)),
    "ffnet_photograph_x4": Network(RESTORATION, 473_852, 16_705_912_832, (256, 256)),
    "ffnet_ts_zero": Network(ZERO_SHOT, 1_230_480),
    "ffnet_3d_nano_semantickitti": Network(POINTS, 1_745_555),
}
"""By name of weights: sizes that differ from the network's defaults."""
