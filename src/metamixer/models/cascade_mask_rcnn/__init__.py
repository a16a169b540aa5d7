"""Cascade Mask R-CNN, one file per part: pyramid, proposals, cascade; boxes, matching, heads and masks serve them."""

from .boxes import BoxCoder as BoxCoder
from .masks import paste_masks as paste_masks
from .masks import to_file as to_file
from .network import VARIANTS as VARIANTS
from .network import CascadeMaskRCNN as CascadeMaskRCNN
from .network import build_detector as build_detector
