"""FFNet-TS: the forecasting network."""

from .network import FFNetTS as FFNetTS
from .network import ffnet_ts as ffnet_ts
