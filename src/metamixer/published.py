"""The authors' checkpoints -> ours: reading them without running code, and renaming every key, none too many or too few."""

import argparse
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from .errors import InputError

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


def published_name(name: str) -> str:
    """The published key of one of our parameters or buffers: `stages.1.blocks.0...` is `stages.1.1...`, and so on."""
    name = re.sub(
        r"^stages\.(\d+)\.blocks\.(\d+)\.",
        lambda match: f"stages.{match[1]}.{int(match[2]) + (match[1] != '0')}.",
        name,
    )
    for pattern, replacement in FFNET_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def load_published(model: nn.Module, source: Source, *, weights: str = "state_dict") -> nn.Module:
    """Load one of the authors' checkpoints into one of our networks, in place, and return it.

    source: a path, a URL of the official release, or a state dict; classification checkpoints as well as detection and
    UPerNet ones, of which the backbone is taken. weights: the entry to take, `state_dict_ema` where the file has one.
    Raises InputError that lists the keys that are missing, left over or of another shape; the model is then unchanged.
    """
    network = getattr(model, "model", model) if type(model).__name__ == "FeatureGetterNet" else model
    network.load_state_dict(convert_published(read_published(source, weights=weights), network))
    return model


def convert_published(state: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """The published state dict under our names, complete in both directions; raises InputError where it is not."""
    state = _backbone(state)
    ours = network.state_dict()
    names = {name: published_name(name) for name in ours}
    missing = [key for key in names.values() if key not in state]
    extra = sorted(set(state) - set(names.values()))
    shapes = [
        f"{key} {list(state[key].shape)} instead of {list(ours[name].shape)}"
        for name, key in names.items()
        if key in state and state[key].shape != ours[name].shape
    ]
    problems = [
        f"{len(keys)} {what}: {', '.join(keys[:8])}{', ...' if len(keys) > 8 else ''}"
        for what, keys in (("missing", missing), ("left over", extra), ("of another shape", shapes))
        if keys
    ]
    if problems:
        raise InputError(f"not a published checkpoint of this {type(network).__name__}: keys " + "; ".join(problems))
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
    else:
        path = download(source) if str(source).startswith(("http://", "https://")) else Path(source)
        content = read_torch_file(path)
    if weights in content:
        content = content[weights]
    elif weights != "state_dict":
        raise InputError(f"{source}: no entry {weights!r}, expected one of {', '.join(map(str, content))}")
    if not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"{_short(source)}: no state dict in it, expected tensors by name, as such or under 'state_dict'")
    return content


def read_torch_file(path: Path) -> Mapping:
    """`torch.load` with tensors and plain values only, and `argparse.Namespace`, which the published files hold."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if "weights_only" in str(error) or "Unsupported" in str(error):
            what = re.search(r"GLOBAL ([\w.]+)", str(error))
            raise InputError(f"{path}: holds {what[1] if what else 'code'}, expected tensors and plain values: not loaded") from None
        raise InputError(f"{path}: not a readable checkpoint ({type(error).__name__}): truncated, or another kind of file") from None
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: holds a {type(content).__name__}, expected a checkpoint dictionary")
    return content


def download(url: str) -> Path:
    """The file of a URL in torch's hub cache; its SHA-256 is stored on first use and compared on every later one."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / Path(urlparse(url).path).name
    checksum = path.with_name(path.name + ".sha256")
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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _short(source: Source) -> str:
    return "state dict" if isinstance(source, Mapping) else str(source)
