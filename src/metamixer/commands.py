"""The commands beside training: each is a function, its keywords are the options, its first line is the help."""

import json as json_format
from collections.abc import Sequence
from pathlib import Path

import torch

from .checkpoints import load_checkpoint, save_network
from .errors import InputError
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
    backend: str | None = None,
) -> None:
    """Classify images and folders of images.

    Args:
        images: files and folders.
        model: a network's name; without a checkpoint its published weights are fetched.
        checkpoint: a file of a training run or of `metamixer export`, which need no model name, or a published one, which does.
        top: how many classes to name for each image.
        json: file to write the result to; "-" for standard output instead of the table.
        batch_size: images at a time.
        device: where to compute, such as cpu or cuda.
        backend: openvino, onnxruntime, compile, eager, or auto for the fastest of them; none: PyTorch as the network is.
    """
    from .allocator import keep_freed_memory
    from .prediction import Classifier, find_images

    keep_freed_memory()
    paths = find_images(images)
    classifier = Classifier.load(model=model, checkpoint=checkpoint)
    classifier.to(device)
    if backend:
        classifier.deploy(backend)
    results = []
    for path, classes in zip(paths, classifier.top(paths, top, batch_size=batch_size), strict=True):
        results.append({"image": str(path), "classes": [{"name": name, "probability": share} for name, share in classes]})
        if json != "-":
            print(f"{path}\n" + "\n".join(f"  {share:7.2%}  {name}" for name, share in classes))
    if json == "-":
        print(json_format.dumps(results, indent=1))
    elif json:
        write_text(Path(json), json_format.dumps(results, indent=1))


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


def export(
    source: str,
    *,
    format: str,
    out: str | None = None,
    model: str | None = None,
    pretrained: bool = True,
    size: int | None = None,
    shape: Sequence[int] | None = None,
    precision: str | None = None,
    dynamic: bool = True,
    images: str | None = None,
    int8: bool = False,
    calibration: str | None = None,
    validation: str | None = None,
    max_drop: float = 1.0,
    mixed: bool = False,
    samples: int = 300,
) -> None:
    """Write a network, fused and with its preprocessing, in another library's format, and prove the file equal to the network.

    Args:
        source: a checkpoint or a network's name.
        format: onnx, openvino, coreml, executorch, litert or torch.
        out: the file to write; none: the source's name with the format's suffix, here.
        model: the name that a published checkpoint needs.
        pretrained: for a network by name: its published weights, else first values.
        size: side of the images in pixels; none: the checkpoint's.
        precision: fp32, fp16, bf16 or int8, as far as the format knows it; none: the format's own.
        dynamic: leave batch and, where the format can, size free.
        images: folder of images (or .npy arrays of inputs) on which file and network are compared.
        int8: short for --precision int8.
        calibration: folder of images (or .npy arrays) from which int8 chooses its ranges.
        validation: folder of labelled images, FOLDER/CLASS/IMAGE, on which int8's accuracy is measured.
        max_drop: percentage points of top-1 that int8 may cost.
        mixed: leave the costliest layers in floating point where int8 costs more.
        samples: most images to take of `images` and `calibration`.
    """
    from .deployment.request import export_request

    report = export_request(
        source,
        format=format,
        out=out,
        model=model,
        pretrained=pretrained,
        size=size,
        shape=tuple(shape) if shape else None,
        precision="int8" if int8 else precision,
        dynamic=dynamic,
        images=images,
        calibration=calibration,
        validation=validation,
        max_drop=max_drop,
        mixed=mixed,
        samples=samples,
    )
    print(report)


def bench(
    networks: Sequence[str],
    *,
    vs: Sequence[str] = (),
    batch: Sequence[int] = (1,),
    sizes: Sequence[int] = (),
    backends: Sequence[str] = (),
    precisions: Sequence[str] = ("fp32", "bf16"),
    threads: int | None = None,
    rounds: int = 15,
    warmup: int = 3,
    json: str | None = None,
    picture: str | None = None,
) -> None:
    """Time networks in every form on this machine: interleaved rounds, medians and quartiles, memory, share of the fp32 peak.

    Args:
        networks: networks by name.
        threads: threads of each form; none: as many as PyTorch uses.
        rounds: rounds that count.
        warmup: rounds before those.
        json: file for everything that was measured.
        picture: file for a picture of published top-1 against latency.
    """
    from .bench import PUBLISHED, Entry, as_json, draw_pareto, run_bench, sizes_of, table
    from .deployment.backends import BACKENDS, find_backend, installed_backends
    from .machine import describe_machine

    names = [*networks, *vs]
    own = sizes_of(names, None)
    backends = backends or [name for name in installed_backends() if name != "compile"]
    ways = [(name, kind) for name in backends for kind in precisions if kind in find_backend(name).precisions]
    unknown = set(precisions) - {kind for backend in BACKENDS.values() for kind in backend.precisions}
    if unknown or not ways:
        raise InputError(f"precisions {' '.join(precisions)} for {' '.join(backends)}, expected some of fp32 bf16 int8 that these know")
    forms = [(PUBLISHED, "fp32"), *ways]
    results, peaks = [], []
    for name in names:
        for side in sizes or (own[name],):
            for count in batch:
                group = [Entry(name, side, count, *form) for form in forms]
                measured, peak = run_bench(group, threads=threads or torch.get_num_threads(), rounds=rounds, warmup=warmup)
                results += measured
                peaks.append(peak)
    print(f"{describe_machine()}, {threads or torch.get_num_threads()} threads, measured fp32 peak {max(peaks):.0f} GFLOP/s\n")
    print(table(results, max(peaks)))
    if json:
        write_text(Path(json), json_format.dumps(as_json(results, max(peaks), describe_machine()), indent=1))
    if picture:
        draw_pareto(results, Path(picture))


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


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text + "\n")
        part.replace(path)
    except OSError as error:
        raise InputError(f"{path}: can't be written ({error.strerror})") from None
    finally:
        part.unlink(missing_ok=True)
