"""One file per network; importing this package registers every network by name, the image networks in timm as well."""

from functools import partial as _partial

from .cascade_mask_rcnn import VARIANTS as _DETECTORS
from .cascade_mask_rcnn import CascadeMaskRCNN as CascadeMaskRCNN
from .cascade_mask_rcnn import build_detector as _build_detector
from .ffnet import VARIANTS as _IMAGE_VARIANTS
from .ffnet import FFNet as FFNet
from .ffnet_3d import VARIANTS as _POINT_VARIANTS
from .ffnet_3d import FFNet3D as FFNet3D
from .ffnet_3d import build_ffnet_3d as _build_ffnet_3d
from .ffnet_photograph import PHOTOGRAPH_VARIANTS as _PHOTOGRAPH_VARIANTS
from .ffnet_photograph import FFNetPhotograph as FFNetPhotograph
from .ffnet_photograph import build_ffnet_photograph as _build_ffnet_photograph
from .ffnet_sr import RESTORATION_VARIANTS as _RESTORATION_VARIANTS
from .ffnet_sr import VARIANTS as _SR_VARIANTS
from .ffnet_sr import FFNetSR as FFNetSR
from .ffnet_sr import build_ffnet_restore as _build_ffnet_restore
from .ffnet_sr import build_ffnet_sr as _build_ffnet_sr
from .ffnet_ts import FFNetTS as FFNetTS
from .ffnet_ts import FFNetTSZero as FFNetTSZero
from .ffnet_ts import ffnet_ts as _ffnet_ts
from .ffnet_ts import ffnet_ts_zero as _ffnet_ts_zero
from .registry import add as _add
from .registry import create_model as create_model
from .registry import list_models as list_models
from .registry import register as register
from .registry import register_timm as _register_timm
from .segmentation import VARIANTS as _SEGMENTERS
from .segmentation import SegmentationNetwork as SegmentationNetwork
from .segmentation import build_segmenter as _build_segmenter
from .tasks import DETECTION as _DETECTION
from .tasks import FORECASTING as _FORECASTING
from .tasks import POINTS as _POINTS
from .tasks import RESTORATION as _RESTORATION
from .tasks import SEGMENTATION as _SEGMENTATION
from .tasks import SUPER_RESOLUTION as _SUPER_RESOLUTION
from .tasks import ZERO_SHOT as _ZERO_SHOT

for _name in _IMAGE_VARIANTS:
    _register_timm(_name)
for _name in _DETECTORS:
    _add(_name, _partial(_build_detector, _name), task=_DETECTION)
for _name in _SEGMENTERS:
    _add(_name, _partial(_build_segmenter, _name), task=_SEGMENTATION)
for _name in _SR_VARIANTS:
    _add(_name, _partial(_build_ffnet_sr, _name), task=_SUPER_RESOLUTION)
for _name in _RESTORATION_VARIANTS:
    _add(_name, _partial(_build_ffnet_restore, _name), task=_RESTORATION)
for _name in _PHOTOGRAPH_VARIANTS:
    _add(_name, _partial(_build_ffnet_photograph, _name), task=_RESTORATION)
_add("ffnet_ts", _ffnet_ts, task=_FORECASTING)
_add("ffnet_ts_zero", _ffnet_ts_zero, task=_ZERO_SHOT)
for _name in _POINT_VARIANTS:
    _add(_name, _partial(_build_ffnet_3d, _name), task=_POINTS)
