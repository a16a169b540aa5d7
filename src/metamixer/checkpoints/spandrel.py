"""FFNet-SR for spandrel, so that tools built on it (ComfyUI, chaiNNer) open its weights; needs the extra `spandrel`.

import metamixer.checkpoints.spandrel
metamixer.checkpoints.spandrel.register()
"""

from collections.abc import Mapping

from spandrel import MAIN_REGISTRY, Architecture, ArchRegistry, ArchSupport, ImageModelDescriptor
from torch import Tensor

from ..models.ffnet_sr import FFNetSR

OUR_KEYS = ("stem.weight", "head.weight", "blocks.0.channel_mixer.mixer.key.weight")
PUBLISHED_KEYS = ("proj.weight", "conv_bef_up.weight", "body.0.token_mixer.0.weight")
"""Keys that identify weights with our names and with the published names."""

NORMS = {
    "layernorm2d": ("blocks.0.token_mixer.mixer.query.0.weight", "body.0.token_mixer.4.weight"),
    "batchnorm2d": ("blocks.0.token_mixer.mixer.query.norm.running_mean", "body.0.token_mixer.1.running_mean"),
}
"""A key that only networks with this norm have, in our and the published names; BatchNorm's is checked first."""


class FFNetSRArchitecture(Architecture[FFNetSR]):
    """Every FFNet-SR whose token mixer is FFNified attention with kernels below 7."""

    def __init__(self):
        super().__init__(id="FFNetSR", name="FFNet-SR", detect=is_ffnet_sr)

    def load(self, state_dict: Mapping[str, Tensor]) -> ImageModelDescriptor[FFNetSR]:
        """Build the network from the shapes of the weights."""
        network = FFNetSR(**numbers_of(state_dict))
        state = network.convert_published(state_dict)
        return ImageModelDescriptor(
            network,
            state,
            architecture=self,
            purpose="SR",
            tags=[f"{network.stem.out_channels}dim", f"{len(network.blocks)}blocks"],
            supports_half=True,
            supports_bfloat16=True,
            scale=network.scale,
            input_channels=3,
            output_channels=3,
        )


def is_ffnet_sr(state: Mapping[str, Tensor]) -> bool:
    """Whether these are weights of an FFNet-SR, ours or published, with FFNified attention as token mixer."""
    known = any(set(keys) <= set(state) for keys in (OUR_KEYS, PUBLISHED_KEYS))
    return known and len(_depthwise(state, "token")) == len(("key", "value"))


def numbers_of(state: Mapping[str, Tensor]) -> dict:
    """The keywords of `FFNetSR` for these weights."""
    ours = "stem.weight" in state
    stem, head, body = ("stem", "head", "blocks") if ours else ("proj", "conv_bef_up", "body")
    norm = next((norm for norm in ("batchnorm2d", "layernorm2d") if NORMS[norm][not ours] in state), None)
    dim = state[f"{stem}.weight"].shape[0]
    channel_weights = [
        tensor for key, tensor in state.items() if key.startswith(f"{body}.0.channel_mixer.") and tensor.ndim == 4
    ]
    return {
        "scale": round((state[f"{head}.weight"].shape[0] / 3) ** 0.5),
        "dim": dim,
        "depth": 1 + max(int(key.split(".")[1]) for key in state if key.startswith(f"{body}.")),
        "token_kernel": _depthwise(state, "token")[0].shape[2],
        "channel_kernel": _depthwise(state, "channel")[0].shape[2],
        "expansion_ratio": max(tensor.shape[0] for tensor in channel_weights) / dim,
        "norm": norm,
    }


def _depthwise(state: Mapping[str, Tensor], part: str) -> list[Tensor]:
    """The weights of the depthwise convolutions in the first block's token or channel mixer."""
    places = tuple(f"{body}.0.{part}_mixer." for body in ("blocks", "body"))
    return [
        tensor for key, tensor in state.items() if key.startswith(places) and tensor.ndim == 4 and tensor.shape[1] == 1
    ]


def register(registry: ArchRegistry = MAIN_REGISTRY) -> None:
    """Register FFNet-SR with spandrel's loaders; may be called several times."""
    registry.add(ArchSupport.from_architecture(FFNetSRArchitecture()), ignore_duplicates=True)
