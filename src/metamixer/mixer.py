"""The equation of the paper, and the mixers made of it.

    MetaMixer(x) = value(act(key(query(x))))

`query` looks at x, `key` compares the query with what the mixer remembers, `act` turns the comparison into a weight, and
`value` answers. Keys and values are either static, i.e. weights (a convolution), or dynamic, i.e. computed from x: then the
query brings them along (`SelfAttention`).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .errors import InputError
from .ops import IMAGE, LayerScale, Operators, form_of, fused, key_gelu_value, output_layer, scale_output


class MetaMixer(nn.Module):
    """value(act(key(query(x)))): the frame that attention and feed-forward networks share (paper, section 3.1)."""

    def __init__(self, query: nn.Module, key: nn.Module, act: nn.Module, value: nn.Module):
        super().__init__()
        self.query = query
        self.key = key
        self.act = act
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, ...) -> the same shape."""
        return self.value(self.act(self.key(self.query(x))))

    def fuse(self) -> nn.Module:
        self.query, self.key, self.value = fused(self.query), fused(self.key), fused(self.value)
        return self

    def output_layer(self) -> nn.Module | None:
        return output_layer(self.value)


class FFNifiedAttention(MetaMixer):
    """Token mixer: keys and values are two depthwise convolutions, GELU takes the place of softmax (paper, section 3.2)."""

    def __init__(self, dim: int, kernel_size: int = 7, *, operators: Operators = IMAGE):
        super().__init__(
            query=operators.conv_norm(dim, dim, 1),
            key=operators.depthwise(dim, kernel_size),
            act=operators.act(),
            value=operators.depthwise(dim, kernel_size),
        )


@form_of(FFNifiedAttention, lambda mixer: isinstance(mixer.act, nn.GELU) and mixer.act.approximate == "none")
class FusedFFNifiedAttention(FFNifiedAttention):
    """The same mixer in the kernels of a GPU (`metamixer.ops.accelerate`), which compute GELU with the key."""

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, H, W) -> the same shape; the inherited equation."""
        return key_gelu_value(self.key, self.value, self.query(x))


class ConvNeXtFFN(MetaMixer):
    """Channel mixer: a depthwise convolution asks, two pointwise ones are keys and values (paper, section 3.2)."""

    def __init__(self, dim: int, kernel_size: int = 7, *, expansion_ratio: float = 3, operators: Operators = IMAGE):
        hidden_dim = int(dim * expansion_ratio)
        super().__init__(
            query=operators.depthwise_norm(dim, dim, kernel_size),
            key=operators.conv(dim, hidden_dim, 1),
            act=operators.act(),
            value=operators.conv(hidden_dim, dim, 1),
        )


class Pooling(MetaMixer):
    """Token mixer of the ablation: an average over the neighbourhood is the only key, and there is no value."""

    def __init__(self, dim: int, kernel_size: int = 3, *, operators: Operators = IMAGE):
        super().__init__(
            query=operators.conv_norm(dim, dim, 1),
            key=operators.pool(kernel_size, 1, kernel_size // 2, count_include_pad=False),
            act=operators.act(),
            value=nn.Identity(),
        )


class DepthwiseMixing(MetaMixer):
    """Token mixer of the ablation that is linear: one depthwise convolution asks, and the question is the answer."""

    def __init__(self, dim: int, kernel_size: int = 3, *, operators: Operators = IMAGE):
        super().__init__(query=operators.depthwise(dim, kernel_size), key=nn.Identity(), act=nn.Identity(), value=nn.Identity())


class NoTokenMixing(MetaMixer):
    """Token mixer of the ablation that mixes no tokens: neither keys nor values."""

    def __init__(self, dim: int, *, operators: Operators = IMAGE):
        super().__init__(query=operators.conv_norm(dim, dim, 1), key=nn.Identity(), act=operators.act(), value=nn.Identity())


class SelfAttention(MetaMixer):
    """Multi-head self-attention in the same frame: keys and values are dynamic, softmax is the activation.

    The query returns (q, k, v), each (B, heads, head_dim, ...) with the positions of x behind; key and value act on them.
    """

    def __init__(self, dim: int, *, head_dim: int = 32, operators: Operators = IMAGE):
        if dim % head_dim:
            raise InputError(f"SelfAttention: dim {dim}, expected a multiple of head_dim {head_dim}")
        super().__init__(
            query=QueryKeyValue(dim, head_dim, operators=operators),
            key=DotProduct(),
            act=SoftmaxOfScores(),
            value=WeightedSum(dim, operators=operators),
        )

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, ...) -> the same shape; the inherited equation, computed in one fused kernel."""
        query, key, value = self.query(x)
        answer = F.scaled_dot_product_attention(_tokens(query), _tokens(key), _tokens(value))
        return self.value.merge(answer, value)


class QueryKeyValue(nn.Module):
    """x (B, C, ...) -> query, dynamic keys and dynamic values, each (B, heads, head_dim, ...)."""

    def __init__(self, dim: int, head_dim: int, *, operators: Operators):
        super().__init__()
        self.head_dim = head_dim
        self.projection = operators.norm_conv(dim, 3 * dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = self.projection(x).unflatten(1, (-1, self.head_dim)).chunk(3, dim=1)
        return query, key, value

    def fuse(self) -> nn.Module:
        self.projection = fused(self.projection)
        return self


class DotProduct(nn.Module):
    """Key interaction: every query with every key, scaled by the root of their length."""

    def forward(self, memory: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """(query, key, value) -> scores (B, heads, tokens, tokens), value."""
        query, key, value = memory
        return _tokens(query) @ _tokens(key).transpose(-2, -1) / query.shape[2] ** 0.5, value


class SoftmaxOfScores(nn.Module):
    """Activation: the scores of a token sum to one; the values pass by."""

    def forward(self, memory: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """(scores, value) -> (weights, value)."""
        scores, value = memory
        return scores.softmax(dim=-1), value


class WeightedSum(nn.Module):
    """Value interaction: the weighted sum of the values, heads side by side, projected."""

    def __init__(self, dim: int, *, operators: Operators):
        super().__init__()
        self.projection = operators.conv(dim, dim, 1)

    def forward(self, memory: tuple[Tensor, Tensor]) -> Tensor:
        """(weights, value) -> (B, C, ...)."""
        weights, value = memory
        return self.merge(weights @ _tokens(value), value)

    def merge(self, answer: Tensor, value: Tensor) -> Tensor:
        """answer: (B, heads, tokens, head_dim), laid out as `value` is, then projected -> (B, C, ...)."""
        return self.projection(answer.transpose(-2, -1).reshape(value.shape).flatten(1, 2))

    def output_layer(self) -> nn.Module:
        return self.projection


def _tokens(x: Tensor) -> Tensor:
    """(B, heads, head_dim, ...) -> (B, heads, tokens, head_dim)."""
    return x.flatten(3).transpose(-2, -1)


TokenMixer = Callable[[int, int, Operators], nn.Module]
"""Makes a token mixer from (dim, kernel_size, operators)."""

TOKEN_MIXERS: dict[str, TokenMixer] = {
    "ffnified": lambda dim, kernel_size, operators: FFNifiedAttention(dim, kernel_size, operators=operators),
    "attention": lambda dim, kernel_size, operators: SelfAttention(dim, operators=operators),
    "depthwise": lambda dim, kernel_size, operators: DepthwiseMixing(dim, kernel_size, operators=operators),
    "pooling": lambda dim, kernel_size, operators: Pooling(dim, kernel_size, operators=operators),
    "identity": lambda dim, kernel_size, operators: NoTokenMixing(dim, operators=operators),
}
"""What a stage can name; add yours to use it by name, or give the function itself."""


def token_mixer(mixer: str | TokenMixer, dim: int, *, kernel_size: int, operators: Operators = IMAGE) -> nn.Module:
    """Build a token mixer from its name in `TOKEN_MIXERS` or from a function of (dim, kernel_size, operators)."""
    if callable(mixer):
        return mixer(dim, kernel_size, operators)
    if mixer not in TOKEN_MIXERS:
        raise InputError(f"mixer {mixer!r}, expected one of {', '.join(TOKEN_MIXERS)} or a function (dim, kernel_size, operators)")
    return TOKEN_MIXERS[mixer](dim, kernel_size, operators)


class Residual(nn.Module):
    """x + drop_path(scale(mixer(x))); scale and drop_path are identities where they are not wanted."""

    def __init__(self, mixer: nn.Module, *, scale: nn.Module | None = None, drop_path: float = 0.0, operators: Operators = IMAGE):
        super().__init__()
        self.mixer = mixer
        self.scale = scale or nn.Identity()
        self.drop_path = operators.drop_path(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, ...) -> the same shape."""
        return x + self.drop_path(self.scale(self.mixer(x)))

    @torch.no_grad()
    def fuse(self) -> nn.Module:
        self.mixer = fused(self.mixer)
        last = output_layer(self.mixer)
        if isinstance(self.scale, LayerScale) and last is not None:
            scale_output(last, self.scale.gamma)
            self.scale = nn.Identity()
        self.drop_path = nn.Identity()
        return self


class MixerBlock(nn.Module):
    """x + scale * token_mixer(x), then x + scale * channel_mixer(x): the block of every network here (paper, figure 3)."""

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
