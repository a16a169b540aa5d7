"""One file a network; importing this package registers every image network in timm."""

from .ffnet import VARIANTS as _IMAGE_VARIANTS
from .ffnet import FFNet as FFNet
from .ffnet_ts import FFNetTS as FFNetTS
from .ffnet_ts import ffnet_ts as _ffnet_ts
from .registry import create_model as create_model
from .registry import list_models as list_models
from .registry import register as _register
from .registry import register_timm as _register_timm

for _name in _IMAGE_VARIANTS:
    _register_timm(_name)
_register("ffnet_ts", _ffnet_ts)
