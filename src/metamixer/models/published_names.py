"""Our parameter names -> the authors', and conversion of their state dicts, complete in both directions."""

import re
from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor

from ..errors import InputError

Names = tuple[tuple[str, str | Callable[[re.Match], str]], ...]
"""Our name -> the published one, as regular expressions applied in this order."""

FFNET_NAMES: Names = (
    (r"^stem\.", "patch_embed."),
    (r"^head\.norm\.", "norm."),
    (r"^head\.fc\.", "head."),
    (r"^feature_norms\.(\d)\.", r"norm\1."),
    (r"\.downsample\.0\.", ".0.proj.0."),
    (r"\.downsample\.1\.branches\.0\.", ".0.proj.1.conv."),
    (r"\.token_mixer\.", ".token_mixer.0."),
    (r"\.scale\.gamma$", ".layer_scale"),
    (r"(token_mixer\.0)\.mixer\.query\.", r"\1.main.fc."),
    (r"(token_mixer\.0)\.mixer\.key\.", r"\1.main.conv1."),
    (r"(token_mixer\.0)\.mixer\.value\.", r"\1.main.conv2."),
    (r"(channel_mixer)\.mixer\.query\.", r"\1.main.conv."),
    (r"(channel_mixer)\.mixer\.key\.", r"\1.main.fc1."),
    (r"(channel_mixer)\.mixer\.value\.", r"\1.main.fc2."),
    (r"\.branches\.0\.", ".conv."),
    (r"\.branches\.1\.", ".conv1."),
    (r"(?<!proj\.1)\.conv\.(weight|bias)$", r".c.\1"),
    (r"(proj\.1\.conv)\.conv\.", r"\1.c."),
    (r"\.norm\.", ".bn."),
)

FFNET_SEG_NAMES: Names = (
    (r"^head\.expand\.0\.", "head1.0."),
    (r"^head\.hidden\.", "head2."),
    (r"^head\.fc\.", "head2.3."),
    (r"\.downsample\.(\d)\.", r".0.proj.\1."),
    (r"\.branches\.0\.", ".conv1."),
    (r"\.branches\.1\.", ".strip_conv1."),
    (r"\.branches\.2\.", ".strip_conv2."),
    (r"\.branches\.3\.", ".conv2."),
    *FFNET_NAMES,
)
"""Of the segmentation backbone and its head's blocks."""


def renamed(name: str, names: Names) -> str:
    """The published key of one of our parameters or buffers."""
    for pattern, replacement in names:
        name = re.sub(pattern, replacement, name)
    return name


def published_name(name: str, names: Names = FFNET_NAMES) -> str:
    """The same for an image network: `stages.1.blocks.0...` is `stages.1.1...`, and so on."""
    name = re.sub(
        r"^stages\.(\d+)\.blocks\.(\d+)\.",
        lambda match: f"stages.{match[1]}.{int(match[2]) + (match[1] != '0')}.",
        name,
    )
    return renamed(name, names)


def convert_published(
    state: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    *,
    names: Names = FFNET_NAMES,
    optional: tuple[str, ...] = (),
) -> dict[str, Tensor]:
    """The published state dict under our names, which it may have already; complete in both directions.

    expected: our names, with tensors of the right shapes. names: how each is published. optional: prefixes of the
    parts that may be absent as a whole. Raises InputError that lists missing keys, unexpected keys and wrong shapes.
    """
    return rename_published(_backbone(state), expected, name_of=partial(published_name, names=names), optional=optional)


def rename_published(
    state: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    *,
    name_of: Callable[[str], str],
    optional: tuple[str, ...] = (),
) -> dict[str, Tensor]:
    """The state dict under our names, complete in both directions; name_of: our name -> the published one."""
    names = {name: name if name in state else name_of(name) for name in expected}
    for part in optional:
        keys = {name: key for name, key in names.items() if name.startswith(part)}
        if not any(key in state for key in keys.values()):
            names = {name: key for name, key in names.items() if name not in keys}
    return rename(state, names, expected)


def rename(state: Mapping[str, Tensor], names: Mapping[str, str], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `state` under our names; names: ours -> the state's.

    Raises InputError that lists the state's missing keys, unexpected keys and wrong shapes.
    """
    found = key_problems(dict(sorted(state.items())), {key: expected[name] for name, key in names.items()})
    problems = [
        f"{len(keys)} {what}: {', '.join(keys[:8])}{', ...' if len(keys) > 8 else ''}" for what, keys in found.items()
    ]
    if problems:
        raise InputError("not a published checkpoint of this network: keys " + "; ".join(problems))
    return {name: state[key] for name, key in names.items()}


def key_problems(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """The missing keys of a state dict, the unexpected ones and those of another shape, by these words."""
    shapes = [
        f"{key} {list(state[key].shape)} instead of {list(tensor.shape)}"
        for key, tensor in expected.items()
        if key in state and state[key].shape != tensor.shape
    ]
    problems = {
        "missing": [key for key in expected if key not in state],
        "unexpected": [key for key in state if key not in expected],
        "of another shape": shapes,
    }
    return {what: keys for what, keys in problems.items() if keys}


def _backbone(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The backbone of a detector or segmenter, without FFNet-4's `ema_*` copies; a classifier is unchanged."""
    if not any(key.startswith("backbone.") for key in state):
        return state
    prefix = "backbone."
    return {
        key[len(prefix) :]: value
        for key, value in state.items()
        if key.startswith(prefix) and not key.startswith("backbone.ema_")
    }
