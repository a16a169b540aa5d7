"""The authors' checkpoints -> ours: reading them without running code, and renaming every key, none too many or too few."""

import argparse
import hashlib
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import urlparse

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import InputError
from ..system.files import expect_file

Source = str | Path | Mapping[str, Tensor]

FFNET_NAMES: tuple[tuple[str, str], ...] = (
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
"""Our name -> the published one, as regular expressions applied in this order."""

FFNET_SEG_NAMES: tuple[tuple[str, str], ...] = (
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
"""The same for the segmentation backbone and its head's blocks."""


def published_name(name: str, names: tuple[tuple[str, str], ...] = FFNET_NAMES) -> str:
    """The published key of one of our parameters or buffers: `stages.1.blocks.0...` is `stages.1.1...`, and so on."""
    name = re.sub(
        r"^stages\.(\d+)\.blocks\.(\d+)\.",
        lambda match: f"stages.{match[1]}.{int(match[2]) + (match[1] != '0')}.",
        name,
    )
    for pattern, replacement in names:
        name = re.sub(pattern, replacement, name)
    return name


def load_published(model: nn.Module, source: Source, *, weights: str = "state_dict") -> nn.Module:
    """Load one of the authors' checkpoints into one of our networks, in place, and return it.

    source: a path, a URL of the official release, or a state dict; for an image network classification checkpoints as well as
    detection and UPerNet ones, of which the backbone is taken. weights: the entry to take, `state_dict_ema` where the file has one;
    a super-resolution file's `params` stands for its `state_dict`.
    A network whose keys follow other rules has a method `convert_published(state)`.
    Raises InputError that lists the keys that are missing, left over or of another shape; the model is then unchanged.
    """
    network = getattr(model, "model", model) if type(model).__name__ == "FeatureGetterNet" else model
    state = read_published(source, weights=weights)
    own = getattr(network, "convert_published", None)
    names = getattr(network, "published_names", FFNET_NAMES)
    network.load_state_dict(own(state) if own else convert_published(state, network.state_dict(), names=names))
    return model


def convert_published(
    state: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    *,
    names: tuple[tuple[str, str], ...] = FFNET_NAMES,
    optional: tuple[str, ...] = (),
) -> dict[str, Tensor]:
    """The published state dict under our names, which it may have already; complete in both directions.

    expected: our names, with tensors of the right shapes. names: how each is published. optional: what the names of parts begin with
    that may be absent as a whole. Raises InputError that lists what is missing, left over or of another shape.
    """
    return rename_published(_backbone(state), expected, name_of=partial(published_name, names=names), optional=optional)


def rename_published(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, name_of: Callable[[str], str], optional: tuple[str, ...] = ()
) -> dict[str, Tensor]:
    """The state dict under our names, where `name_of` gives the published one; complete in both directions."""
    names = {name: name if name in state else name_of(name) for name in expected}
    for part in optional:
        keys = {name: key for name, key in names.items() if name.startswith(part)}
        if not any(key in state for key in keys.values()):
            names = {name: key for name, key in names.items() if name not in keys}
    return rename(state, names, expected)


def rename(state: Mapping[str, Tensor], names: Mapping[str, str], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `state` under our names; names: ours -> the state's.

    Raises InputError that lists the state's keys that are missing, left over or of another shape than `expected` has by our name.
    """
    missing = [key for key in names.values() if key not in state]
    extra = sorted(set(state) - set(names.values()))
    shapes = [
        f"{key} {list(state[key].shape)} instead of {list(expected[name].shape)}"
        for name, key in names.items()
        if key in state and state[key].shape != expected[name].shape
    ]
    problems = [
        f"{len(keys)} {what}: {', '.join(keys[:8])}{', ...' if len(keys) > 8 else ''}"
        for what, keys in (("missing", missing), ("left over", extra), ("of another shape", shapes))
        if keys
    ]
    if problems:
        raise InputError("not a published checkpoint of this network: keys " + "; ".join(problems))
    return {name: state[key] for name, key in names.items()}


def _backbone(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """A detector's or segmenter's backbone; a classifier as it is. FFNet-4's detector holds `ema_*` copies beside it."""
    if not any(key.startswith("backbone.") for key in state):
        return state
    prefix = "backbone."
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix) and not key.startswith("backbone.ema_")}


def read_published(source: Source, *, weights: str = "state_dict") -> Mapping[str, Tensor]:
    """The state dict in a published file, at a URL, or as given; nothing in the file is executed."""
    if isinstance(source, Mapping):
        content = source
    elif str(source).startswith(("http://", "https://")):
        content = _read_url(str(source))
    else:
        content = _read_file(Path(source))
    if weights == "state_dict" and "params" in content:
        weights = "params"
    if weights in content:
        content = content[weights]
    elif weights != "state_dict":
        raise InputError(f"{_short(source)}: no entry {weights!r}, expected one of {names_of(content)}")
    if not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"{_short(source)}: no state dict in it, expected tensors by name, as such or under 'state_dict'")
    return content


def _read_url(url: str) -> Mapping:
    path = download(url)
    try:
        return _read_file(path)
    except InputError:
        # A cut-off download would otherwise be taken from the cache, with a checksum that fits, for ever.
        path.unlink(missing_ok=True)
        _checksum_file(path).unlink(missing_ok=True)
        raise


def _read_file(path: Path) -> Mapping:
    if path.suffix != ".safetensors":
        return read_torch_file(path)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error})") from None


def read_torch_file(path: Path) -> Mapping:
    """`torch.load` with tensors and plain values only, and `argparse.Namespace`, which the published files hold."""
    expect_file(path)
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        code = re.search(r"GLOBAL ([\w.]+)", str(error))
        if code:
            raise InputError(f"{path}: holds {code[1]}, expected tensors and plain values: not loaded") from None
        raise InputError(f"{path}: not a readable checkpoint ({type(error).__name__}): truncated, or another kind of file") from None
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: holds a {type(content).__name__}, expected a checkpoint dictionary")
    return content


def download(url: str) -> Path:
    """The file of a URL in torch's hub cache; its SHA-256 is stored on first use and compared on every later one."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / Path(urlparse(url).path).name
    checksum = _checksum_file(path)
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path))
        except OSError as error:
            raise InputError(f"{url}: can't be downloaded ({error}); fetch it elsewhere and give its path") from None
    digest = _sha256(path)
    if not checksum.is_file():
        checksum.write_text(f"{digest}  {path.name}\n")
    elif checksum.read_text().split()[0] != digest:
        raise InputError(f"{path}: SHA-256 {digest}, expected {checksum.read_text().split()[0]}: remove both files to fetch it anew")
    return path


def _checksum_file(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def names_of(content: Mapping, *, most: int = 8) -> str:
    """The first keys of a file for messages."""
    names = [str(key) for key in content]
    return ", ".join(names[:most]) + f" and {len(names) - most} more" * (len(names) > most)


def _short(source: Source) -> str:
    return "state dict" if isinstance(source, Mapping) else str(source)
