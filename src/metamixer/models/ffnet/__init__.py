"""FFNet: the image networks. timm lists a network under its file's name, hence `ffnet.py`:
`timm.list_models(module="ffnet")`.
"""

from .ffnet import VARIANTS as VARIANTS
from .ffnet import FFNet as FFNet
