"""FFNet-seg and UPerNet: a head on a backbone classifies each pixel."""

from .networks import VARIANTS as VARIANTS
from .networks import SegmentationNetwork as SegmentationNetwork
from .networks import build_segmenter as build_segmenter
