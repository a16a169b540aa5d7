"""FFNet-seg and UPerNet: a head on a backbone gives each pixel a class."""

from .networks import VARIANTS as VARIANTS
from .networks import SegmentationNetwork as SegmentationNetwork
from .networks import build_segmenter as build_segmenter
