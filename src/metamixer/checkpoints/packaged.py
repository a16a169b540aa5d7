"""The weights included in the package; their model card is in the same folder."""

from pathlib import Path

from ..errors import InputError

FOLDER = Path(__file__).parents[1] / "weights"


def packaged_names() -> list[str]:
    """The names of the packaged weights, such as ffnet_sr_nano_x2."""
    return sorted(file.stem for file in FOLDER.glob("*.safetensors"))


def packaged_scales(model: str) -> list[int]:
    """The scales of a super-resolution network with packaged weights."""
    return [int(name.removeprefix(f"{model}_x")) for name in packaged_names() if name.startswith(f"{model}_x")]


def packaged_weights(name: str) -> Path:
    """The file of packaged weights; raises InputError for an unknown name."""
    if name not in packaged_names():
        raise InputError(
            f"{name}: no packaged weights (available: {', '.join(packaged_names()) or 'none'}), expected a checkpoint"
        )
    return FOLDER / f"{name}.safetensors"
