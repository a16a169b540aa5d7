"""The equation of the paper, and the mixers made of it.

    MetaMixer(x) = value(act(key(query(x))))

The query is computed from x, the key interaction compares it with the keys, the activation turns the result into
weights, and the value interaction combines the values with these weights. Keys and values are static, i.e. weights of a
convolution, or dynamic, i.e. computed from x together with the query (`SelfAttention`).

Every mixer takes its layers from `operators`, so the same class runs on images (B, C, H, W), series (B, C, N) and
sparse voxels. "Spatial" below is the operators' spatial convolution: depthwise on images and series, full on voxels.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .errors import InputError
from .ops import IMAGE, Operators, fold_scale, form_of, fused, key_gelu_value, output_layer, with_children


class MetaMixer(nn.Module):
    """value(act(key(query(x)))): the framework that attention and feed-forward networks share (paper, section 3.1)."""

    def __init__(self, query: nn.Module, key: nn.Module, act: nn.Module, value: nn.Module):
        super().__init__()
        self.query = query
        self.key = key
        self.act = act
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, ...) -> the same shape."""
        return self.value(self.act(self.key(self.query(x))))

    def output_layer(self) -> nn.Module | None:
        return output_layer(self.value)


class FFNifiedAttention(MetaMixer):
    """Token mixer: keys and values are two spatial convolutions, and GELU replaces softmax (paper, section 3.2)."""

    def __init__(self, dim: int, kernel_size: int = 7, operators: Operators = IMAGE):
        super().__init__(
            query=operators.projection(dim),
            key=operators.spatial(dim, kernel_size),
            act=operators.act(),
            value=operators.spatial(dim, kernel_size),
        )


@form_of(FFNifiedAttention, lambda mixer: type(mixer.act) is nn.GELU and mixer.act.approximate == "none")
class AcceleratedFFNifiedAttention(FFNifiedAttention):
    """The same mixer in the kernels of a GPU (`metamixer.ops.accelerate`), which compute GELU with the key."""

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, H, W) -> the same shape; the inherited equation."""
        return key_gelu_value(self.key, self.value, self.query(x))


def hidden_width(dim: int, expansion_ratio: float) -> int:
    """The width of a channel mixer's hidden layer; raises InputError for none."""
    if dim * expansion_ratio < 1:
        raise InputError(f"expansion_ratio {expansion_ratio}, expected at least 1 / {dim}, one channel")
    return int(dim * expansion_ratio)


class ConvNeXtFFN(MetaMixer):
    """Channel mixer: the query is a spatial convolution, keys and values are pointwise ones (paper, section 3.2)."""

    def __init__(self, dim: int, kernel_size: int = 7, operators: Operators = IMAGE, *, expansion_ratio: float = 3):
        hidden_dim = hidden_width(dim, expansion_ratio)
        super().__init__(
            query=operators.spatial_norm(dim, kernel_size),
            key=operators.conv(dim, hidden_dim, 1),
            act=operators.act(),
            value=operators.conv(hidden_dim, dim, 1),
        )


class Convolution(MetaMixer):
    """Token mixer of the ablation: a single spatial convolution instead of keys and values."""

    def __init__(self, dim: int, kernel_size: int = 3, operators: Operators = IMAGE):
        super().__init__(
            query=operators.projection(dim),
            key=operators.spatial(dim, kernel_size),
            act=operators.act(),
            value=nn.Identity(),
        )


class Pooling(MetaMixer):
    """Token mixer of the ablation: the key interaction is average pooling; no values."""

    def __init__(self, dim: int, kernel_size: int = 3, operators: Operators = IMAGE):
        super().__init__(
            query=operators.projection(dim),
            key=operators.pool(kernel_size, 1, kernel_size // 2, count_include_pad=False),
            act=operators.act(),
            value=nn.Identity(),
        )


class DepthwiseMixing(MetaMixer):
    """Linear token mixer of the ablation: a single depthwise convolution; key, activation and value are identities."""

    def __init__(self, dim: int, kernel_size: int = 3, operators: Operators = IMAGE):
        super().__init__(
            query=operators.depthwise(dim, kernel_size), key=nn.Identity(), act=nn.Identity(), value=nn.Identity()
        )


class NoTokenMixing(MetaMixer):
    """Token mixer of the ablation that mixes no tokens: a projection and an activation."""

    def __init__(self, dim: int, kernel_size: int | None = None, operators: Operators = IMAGE):
        super().__init__(query=operators.projection(dim), key=nn.Identity(), act=operators.act(), value=nn.Identity())


Memory = tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor]
"""The intermediate result of attention: query, keys, values, mask of real tokens, and the mixer's input."""


class SelfAttention(MetaMixer):
    """Multi-head self-attention: keys and values are dynamic, and the activation is softmax.

    On images and series, attention is global. On voxels it is within windows of
    `metamixer.ops.voxels.ATTENTION_WINDOW` voxels a side, and never across the scenes of a batch.

    head_dim: channels of a head; None: 32, or all if there are fewer. kernel_size: of no effect, as in `NoTokenMixing`.
    """

    def __init__(
        self, dim: int, kernel_size: int | None = None, operators: Operators = IMAGE, *, head_dim: int | None = None
    ):
        head_dim = head_dim or min(dim, 32)
        if dim % head_dim:
            raise InputError(f"SelfAttention: dim {dim}, expected a multiple of head_dim {head_dim}")
        super().__init__(
            query=QueryKeyValue(dim, head_dim, operators=operators),
            key=DotProduct(),
            act=SoftmaxOfScores(),
            value=WeightedSum(dim, operators=operators),
        )

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, ...) -> the same shape; the inherited equation, computed by one fused kernel."""
        query, key, value, mask, like = self.query(x)
        return self.value.merge(F.scaled_dot_product_attention(query, key, value, attn_mask=mask), like)


class QueryKeyValue(nn.Module):
    """Computes the query, dynamic keys and dynamic values of each head."""

    def __init__(self, dim: int, head_dim: int, *, operators: Operators):
        super().__init__()
        self.head_dim = head_dim
        self.projection = operators.norm_conv(dim, 3 * dim)
        self.tokens = operators.tokens()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor]:
        """x: (B, C, ...) -> query, key, value (B, heads, tokens, head_dim), the mask of real tokens, x."""
        tokens, mask = self.tokens(self.projection(x))
        heads = tokens.unflatten(2, (3, -1, self.head_dim)).permute(2, 0, 3, 1, 4)
        return heads[0], heads[1], heads[2], mask, x


class DotProduct(nn.Module):
    """Key interaction: the dot product of every query with every key, scaled by the root of head_dim."""

    def forward(self, memory: Memory) -> tuple[Tensor, Tensor, Tensor]:
        """(query, key, value, mask, x) -> scores (B, heads, tokens, tokens), value, x."""
        query, key, value, mask, like = memory
        scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
        return scores if mask is None else scores.masked_fill(~mask, -torch.inf), value, like


class SoftmaxOfScores(nn.Module):
    """Activation: softmax over the keys; values pass through."""

    def forward(self, memory: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """(scores, value, x) -> (weights, value, x)."""
        scores, value, like = memory
        return scores.softmax(dim=-1), value, like


class WeightedSum(nn.Module):
    """Value interaction: the weighted sum of the values, heads concatenated and projected."""

    def __init__(self, dim: int, *, operators: Operators):
        super().__init__()
        self.projection = operators.conv(dim, dim, 1)
        self.tokens = operators.tokens()

    def forward(self, memory: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """(weights, value, x) -> the shape of x."""
        weights, value, like = memory
        return self.merge(weights @ value, like)

    def merge(self, result: Tensor, like: Tensor) -> Tensor:
        """result: (B, heads, tokens, head_dim) -> projected, in the shape of `like` (B, C, ...)."""
        return self.projection(self.tokens.restore(result.transpose(1, 2).flatten(2), like))

    def output_layer(self) -> nn.Module | None:
        return output_layer(self.projection)


TokenMixer = Callable[[int, int, Operators], nn.Module]
"""A function that builds a token mixer from (dim, kernel_size, operators)."""

Mixers = str | TokenMixer | Sequence[str | TokenMixer]
"""The argument `mixers` of networks: a name of `TOKEN_MIXERS` or a function, for all stages or one for each."""


TOKEN_MIXERS: dict[str, TokenMixer] = {
    "ffnified": FFNifiedAttention,
    "attention": SelfAttention,
    "depthwise": DepthwiseMixing,
    "convolution": Convolution,
    "pooling": Pooling,
    "identity": NoTokenMixing,
}
"""The token mixers of every network by name. Add yours to use it by name, or pass the function itself."""


def token_mixer(mixer: str | TokenMixer, dim: int, *, kernel_size: int, operators: Operators = IMAGE) -> nn.Module:
    """Build a token mixer from its name in `TOKEN_MIXERS` or from a function of (dim, kernel_size, operators)."""
    build = TOKEN_MIXERS.get(mixer) if isinstance(mixer, str) else mixer
    if not callable(build) or isinstance(build, nn.Module):
        names = ", ".join(TOKEN_MIXERS)
        given = f"{type(mixer).__name__}()" if isinstance(mixer, nn.Module) else repr(mixer)
        raise InputError(
            f"mixer {given}, expected one of {names}, a function (dim, kernel_size, operators), or one of "
            "your own, added to metamixer.TOKEN_MIXERS before"
        )
    module = build(dim, kernel_size, operators)
    if not isinstance(module, nn.Module):
        raise InputError(f"mixer {mixer!r} returned {module!r}, expected an nn.Module")
    return module


def mixer_of_each(mixers: Mixers, stages: int) -> tuple[str | TokenMixer, ...]:
    """The mixer of each stage; raises InputError if their number differs from that of the stages."""
    if isinstance(mixers, str) or not isinstance(mixers, Sequence):
        return (mixers,) * stages
    if len(mixers) != stages:
        raise InputError(f"mixers {list(mixers)}, expected one entry per stage, {stages} in all, or a single mixer")
    return tuple(mixers)


def with_mixers(keywords: dict[str, Any]) -> dict[str, Any]:
    """A network's keywords with `mixers` for its name in earlier versions, `mixer`; raises InputError for both."""
    if {"mixer", "mixers"} <= keywords.keys():
        raise InputError(f"mixer {keywords['mixer']!r}, mixers {keywords['mixers']!r}: expected only mixers")
    return {"mixers" if name == "mixer" else name: value for name, value in keywords.items()}


class Residual(nn.Module):
    """x + drop_path(scale(mixer(x))); scale and drop_path are identities unless given."""

    def __init__(
        self, mixer: nn.Module, *, scale: nn.Module | None = None, drop_path: float = 0.0, operators: Operators = IMAGE
    ):
        super().__init__()
        self.mixer = mixer
        self.scale = scale or nn.Identity()
        self.drop_path = operators.drop_path(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, ...) -> the same shape."""
        return x + self.drop_path(self.scale(self.mixer(x)))

    @torch.no_grad()
    def fuse(self) -> nn.Module:
        mixer, scale = fold_scale(fused(self.mixer), fused(self.scale))
        return with_children(self, mixer=mixer, scale=scale, drop_path=nn.Identity())


class MixerBlock(nn.Module):
    """x + scale * token_mixer(x), then x + scale * channel_mixer(x): the block of every network (paper, figure 3)."""

    def __init__(
        self,
        token_mixer: nn.Module,
        channel_mixer: nn.Module,
        *,
        scale: Callable[[], nn.Module] = nn.Identity,
        drop_path: float = 0.0,
        operators: Operators = IMAGE,
    ):
        super().__init__()
        self.token_mixer = Residual(token_mixer, scale=scale(), drop_path=drop_path, operators=operators)
        self.channel_mixer = Residual(channel_mixer, scale=scale(), drop_path=drop_path, operators=operators)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, ...) -> the same shape."""
        return self.channel_mixer(self.token_mixer(x))
