"""Write a checkpoint in half precision as a file of weights for the package, and print its line of data.

    python benchmarks/package_weights.py runs/camvid/best.ckpt ffnet_head_ffnet_nano_camvid

Writes src/metamixer/weights/NAME.safetensors. Its megabytes and SHA-256 belong in `metamixer.zoo.weights`, its data,
recipe, cost and figures in src/metamixer/weights/README.md.
"""

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path

from timm.data import ImageNetInfo

from metamixer.checkpoints.ours import load_checkpoint, save_network

FOLDER = Path(__file__).parent.parent / "src/metamixer/weights"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="best.ckpt or last.ckpt of a run")
    parser.add_argument("name", help="name of the file, without the suffix")
    options = parser.parse_args()
    file = FOLDER / f"{options.name}.safetensors"
    network, info = load_checkpoint(options.checkpoint)
    if info["classes"]:
        info["classes"] = as_descriptions(info["classes"])
    save_network(network.half(), info, file)
    content = file.read_bytes()
    print(f"{file}: megabytes {len(content) / 1e6:.1f}, sha256 {hashlib.sha256(content).hexdigest()}")


def as_descriptions(names: Sequence[str]) -> list[str]:
    """Replace ImageNet's synsets, such as n01440764, by their descriptions; other names stay as they are."""
    info = ImageNetInfo("imagenet-1k")
    known = set(info.label_names())
    return [info.label_name_to_description(name) if name in known else name for name in names]


if __name__ == "__main__":
    main()
