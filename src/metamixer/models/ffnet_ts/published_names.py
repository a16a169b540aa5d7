"""Conversion of the authors' forecasting checkpoints to ours."""

import re
import warnings
from collections.abc import Mapping

from torch import Tensor

from ...errors import InputWarning
from ..published_names import Names, rename, renamed

NAMES: Names = (
    (r"^(?!residual|trend)", "model."),
    (r"^residual\.", "model_res."),
    (r"^trend\.", "model_trend."),
    (r"reversible_norm\.", "revin_layer.affine_"),
    (r"stem\.layer\.conv\.", "downsample_layers.0.0."),
    (r"stem\.layer\.norm\.", "downsample_layers.0.1."),
    (r"stages\.(\d+)\.downsample\.conv\.layer\.norm\.", r"downsample_layers.\1.0."),
    (r"stages\.(\d+)\.downsample\.conv\.layer\.conv\.", r"downsample_layers.\1.1."),
    (r"token_mixer\.mixer\.query\.key\.", "token_mixer.ffnpw1."),
    (r"token_mixer\.mixer\.query\.value\.1\.conv\.", "token_mixer.ffnpw2."),
    (r"token_mixer\.mixer\.query\.value\.1\.norm\.", "token_mixer.norm."),
    (r"token_mixer\.mixer\.key\.", "token_mixer.dw1."),
    (r"token_mixer\.mixer\.value\.", "token_mixer.dw2."),
    (r"channel_mixer\.mixer\.query\.conv\.branches\.0\.conv\.", "channel_mixer.dw.lkb_origin.conv."),
    (r"channel_mixer\.mixer\.query\.conv\.branches\.0\.norm\.", "channel_mixer.dw.lkb_origin.bn."),
    (r"channel_mixer\.mixer\.query\.conv\.branches\.1\.conv\.", "channel_mixer.dw.small_conv.conv."),
    (r"channel_mixer\.mixer\.query\.conv\.branches\.1\.norm\.", "channel_mixer.dw.small_conv.bn."),
    (r"channel_mixer\.mixer\.query\.norm\.", "channel_mixer.norm."),
    (r"channel_mixer\.mixer\.key\.", "channel_mixer.ffnpw1."),
    (r"channel_mixer\.mixer\.value\.1\.", "channel_mixer.ffnpw2."),
)
"""Our name -> the published one, as regular expressions applied in this order."""

UNUSED = re.compile(r"\w+\.(te_patch|lat_layer|smooth_layer|up_sample_conv|downsample_layers\.[1-9])(?=\.)")
"""Modules that the published network has but never uses, among them downsampling layers of absent stages."""

STEM_BIAS = "downsample_layers.0.0.bias"


def convert_published(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict under our names; unused modules are left out with a warning.

    The published stem adds a bias right before a norm; ours subtracts it from the norm's mean. Raises InputError that
    lists missing keys, unexpected keys and keys of another shape.
    """
    names = {name: renamed(name, NAMES) for name in expected}
    wanted = set(names.values())
    left_out = {key: match[0] for key in state if key not in wanted and (match := UNUSED.match(key))}
    used = {key: value for key, value in state.items() if key not in left_out}
    for bias in [key for key in used if key.endswith(STEM_BIAS)]:
        mean = bias.replace(STEM_BIAS, "downsample_layers.0.1.running_mean")
        used[mean] = used[mean] - used.pop(bias)
    if left_out:
        parts = ", ".join(sorted(set(left_out.values())))
        warnings.warn(
            f"left out {len(left_out)} keys of modules that the published network never uses: {parts}",
            InputWarning,
            stacklevel=4,
        )
    return rename(used, names, expected)
