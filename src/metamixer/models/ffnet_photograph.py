"""FFNet for photographs: a restoration network, then a super-resolution network, trained as one."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from .ffnet_sr import FFNetSR
from .registry import create_model

PHOTOGRAPH_VARIANTS: dict[str, dict[str, str]] = {
    "ffnet_photograph": {"restore": "ffnet_restore", "enlarge": "ffnet_sr_nano"}
}
"""The networks that each variant is composed of."""


class FFNetPhotograph(nn.Module):
    """Enlarges a photograph without its noise and JPEG blocks.

    Args:
        restore: at scale 1; its body may work on squares of pixels (`patch`).
        enlarge: of the same channels.
    """

    def __init__(self, restore: FFNetSR, enlarge: FFNetSR):
        super().__init__()
        self.restore = restore
        self.enlarge = enlarge
        self.scale = enlarge.scale
        self.in_chans = restore.in_chans
        self.patch = restore.patch

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, H, W), values in [0, 1] -> (B, C, scale * H, scale * W)."""
        return self.enlarge(self.restore(x))


def build_ffnet_photograph(
    variant: str,
    *,
    scale: int = 2,
    restore: Mapping[str, Any] | None = None,
    enlarge: Mapping[str, Any] | None = None,
    **both,
) -> FFNetPhotograph:
    """A variant by name.

    restore, enlarge: keywords of `create_model` for each of the two networks, such as `pretrained`; both: for both.
    """
    names = PHOTOGRAPH_VARIANTS[variant]
    model = FFNetPhotograph(
        create_model(names["restore"], **both, **(restore or {})),
        create_model(names["enlarge"], scale=scale, **both, **(enlarge or {})),
    )
    # The layer that depends on the scale: a new start from other weights renews it.
    model.pretrained_cfg = {"architecture": variant, "classifier": "enlarge.head"}
    return model
