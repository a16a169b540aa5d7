"""FFNet: the image networks."""

from .network import VARIANTS as VARIANTS
from .network import FFNet as FFNet
