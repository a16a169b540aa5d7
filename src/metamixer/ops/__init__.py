"""Layers of every dimension, each of which folds itself; what mixers and networks need."""

from .operators import IMAGE as IMAGE
from .operators import IMAGE_WITH_STRIPS as IMAGE_WITH_STRIPS
from .operators import SERIES as SERIES
from .operators import ConvNorm as ConvNorm
from .operators import KernelSize as KernelSize
from .operators import LayerScale as LayerScale
from .operators import NormConv as NormConv
from .operators import Operators as Operators
from .operators import ParallelConv as ParallelConv
from .operators import fused as fused
from .operators import norm_as_affine as norm_as_affine
from .operators import output_layer as output_layer
from .operators import same_padding as same_padding
from .operators import scale_output as scale_output
