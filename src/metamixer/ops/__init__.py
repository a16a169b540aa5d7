"""Layers for images, series and voxels, with their deploy forms."""

from .acceleration import accelerate as accelerate
from .acceleration import form_of as form_of
from .acceleration import key_gelu_value as key_gelu_value
from .folding import folds as folds
from .folding import fused as fused
from .folding import is_known as is_known
from .folding import kernel_of as kernel_of
from .folding import norm_as_affine as norm_as_affine
from .folding import output_layer as output_layer
from .folding import with_children as with_children
from .folding import with_kernel as with_kernel
from .operators import IMAGE as IMAGE
from .operators import IMAGE_WITH_STRIPS as IMAGE_WITH_STRIPS
from .operators import ConvNorm as ConvNorm
from .operators import KernelSize as KernelSize
from .operators import LayerScale as LayerScale
from .operators import NormConv as NormConv
from .operators import Operators as Operators
from .operators import ParallelConv as ParallelConv
from .operators import Positions as Positions
from .operators import fold_scale as fold_scale
from .operators import same_padding as same_padding
from .series import SERIES as SERIES
