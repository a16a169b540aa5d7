"""COCO's categories."""

from functools import cache


@cache
def coco_categories() -> dict[int, str]:
    """COCO's 80 categories by category id; the ids have gaps."""
    from torchvision.models.detection import MaskRCNN_ResNet50_FPN_V2_Weights  # imports every detector of torchvision

    names = MaskRCNN_ResNet50_FPN_V2_Weights.DEFAULT.meta["categories"]
    return {number: name for number, name in enumerate(names) if name not in ("__background__", "N/A")}
