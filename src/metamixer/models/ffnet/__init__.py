"""FFNet: the image networks, which timm lists by file name: `timm.list_models(module="ffnet")`."""

from .ffnet import VARIANTS as VARIANTS
from .ffnet import FFNet as FFNet
