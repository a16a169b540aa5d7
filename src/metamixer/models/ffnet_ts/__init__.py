"""FFNet-TS: the forecasting network."""

from .network import FFNetTS as FFNetTS
from .network import ffnet_ts as ffnet_ts
from .zero import FFNetTSZero as FFNetTSZero
from .zero import ffnet_ts_zero as ffnet_ts_zero
