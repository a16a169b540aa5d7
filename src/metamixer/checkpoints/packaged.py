"""The trained networks that come with the package; their model card lies beside them."""

from pathlib import Path

from ..errors import InputError

FOLDER = Path(__file__).parents[1] / "weights"


def packaged_names() -> list[str]:
    """What is there, such as ffnet_sr_nano_x2."""
    return sorted(file.stem for file in FOLDER.glob("*.safetensors"))


def packaged_scales(model: str) -> list[int]:
    """The scales at which a super-resolution network is there."""
    return [int(name.removeprefix(f"{model}_x")) for name in packaged_names() if name.startswith(f"{model}_x")]


def packaged_weights(name: str) -> Path:
    """The file of a name; raises InputError where there is none."""
    if name not in packaged_names():
        raise InputError(
            f"{name}: no weights in the package (there: {', '.join(packaged_names()) or 'none'}), expected a checkpoint"
        )
    return FOLDER / f"{name}.safetensors"
