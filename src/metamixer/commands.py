"""The commands beside training: each is a function, its keywords are the options, its first line is the help."""

import json as json_format
from collections.abc import Sequence
from pathlib import Path

import torch

from .checkpoints import load_checkpoint, save_network
from .errors import InputError
from .files import write_text
from .fusion import fuse as fuse_network


def predict(
    images: Sequence[str],
    *,
    model: str | None = None,
    checkpoint: str | None = None,
    top: int = 5,
    json: str | None = None,
    batch_size: int = 32,
    device: str = "cpu",
) -> None:
    """Classify images and folders of images.

    Args:
        images: files and folders.
        model: a network's name; without a checkpoint its published weights are fetched.
        checkpoint: a file of a training run, which needs no model name, or a published one, which does.
        top: how many classes to name for each image.
        json: file to write the result to; "-" for standard output instead of the table.
        batch_size: images at a time.
        device: where to compute, such as cpu or cuda.
    """
    from .prediction import Classifier, find_images

    paths = find_images(images)
    classifier = Classifier.load(model=model, checkpoint=checkpoint)
    classifier.network.to(device)
    results = []
    for path, classes in zip(paths, classifier.top(paths, top, batch_size=batch_size), strict=True):
        results.append({"image": str(path), "classes": [{"name": name, "probability": share} for name, share in classes]})
        if json != "-":
            print(f"{path}\n" + "\n".join(f"  {share:7.2%}  {name}" for name, share in classes))
    if json == "-":
        print(json_format.dumps(results, indent=1))
    elif json:
        write_text(json, json_format.dumps(results, indent=1))


def fuse(checkpoint: str, *, out: str) -> None:
    """Write a checkpoint's deploy form and print how far it is from the original.

    Args:
        checkpoint: a file of a training run.
        out: the .safetensors file to write; `metamixer predict --checkpoint` takes it.
    """
    from .data.preprocessing import Preprocessing

    if Path(out).suffix != ".safetensors":
        raise InputError(f"out {out!r}, expected a name that ends in .safetensors")
    network, info = load_checkpoint(checkpoint)
    fused = fuse_network(network)
    preprocessing = Preprocessing.from_dict(info["preprocessing"])
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(8, preprocessing.in_chans, preprocessing.size, preprocessing.size, generator=generator)
    with torch.inference_mode():
        expected, actual = network(images), fused(images)
    difference = ((actual - expected).abs().max() / expected.abs().max()).item()
    save_network(fused, {**info, "fused": True}, out)
    before, after = (sum(parameter.numel() for parameter in net.parameters()) for net in (network, fused))
    modules = [sum(1 for module in net.modules() if not list(module.children())) for net in (network, fused)]
    print(f"{out}: {after:,} parameters (were {before:,}), {modules[1]} operators (were {modules[0]})")
    print(f"parity on 8 random images: largest difference {difference:.1e} of the largest logit")


def models() -> None:
    """List the networks: parameters and multiply-accumulates in deploy form, and the paper's accuracy."""
    import timm

    from .complexity import measure_deploy_form
    from .models import list_models
    from .models.paper import TOP1

    print(f"{'network':26s}{'params':>9s}{'MACs':>10s}{'pixels':>8s}{'top-1 (paper)':>15s}")
    for name in list_models():
        for tag in timm.list_models(name, include_tags=True):
            size = timm.get_pretrained_cfg(tag).input_size[-1]
            complexity = measure_deploy_form(name, size)
            accuracy = f"{TOP1[tag]:.1f}" if tag in TOP1 else "ours"
            print(f"{tag:26s}{complexity.params / 1e6:7.1f} M{complexity.macs / 1e9:8.2f} G{size:8d}{accuracy:>15s}")


def draw(checkpoint: str, *, out: str = "sheet.png", block: str = "stages.2.blocks.0") -> None:
    """Draw a training run on one sheet: predictions on test images, training curve, learned kernels.

    Args:
        checkpoint: a file in the folder of a training run (its configuration and logs lie beside it).
        out: the picture to write.
        block: the mixer block of which key and value kernels are drawn.
    """
    from .analysis import draw_sheet

    draw_sheet(Path(checkpoint), Path(out), block=block)
    print(f"{out}: predictions, training curve and kernels of {checkpoint}")
