"""The commands beside training: each is a function, its keywords are the options, its first line is the help."""

import json as json_format
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from .checkpoints import load_checkpoint, save_network
from .data.preprocessing import Preprocessing
from .errors import InputError
from .files import write_picture, write_text
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
        write_text(json, json_format.dumps(results, indent=1))


def detect(
    images: Sequence[str],
    *,
    checkpoint: str,
    out: str,
    model: str | None = None,
    score_threshold: float = 0.3,
    device: str = "cpu",
) -> None:
    """Find objects in images and folders of images; write pictures of them and COCO's results.

    Args:
        images: files and folders.
        checkpoint: a file of a training run, or a published one, which needs its model's name.
        out: folder for a picture of each image and for detections.json.
        model: a network's name.
        score_threshold: objects that the network is less sure of are left out; it gives none below 0.05.
        device: where to compute, such as cpu or cuda.
    """
    from .detector import Detector, image_ids, picture_names
    from .prediction import find_images

    if not 0 <= score_threshold <= 1:
        raise InputError(f"score_threshold {score_threshold}, expected a number from 0 to 1")
    paths = find_images(images)
    detector = Detector.load(model=model, checkpoint=checkpoint)
    detector.network.to(device)
    results = []
    for path, name, number in zip(paths, picture_names(paths), image_ids(paths), strict=True):
        found = detector(path, score_threshold=score_threshold)
        write_picture(Path(out, name), detector.draw(path, found))
        entries = detector.results(found)
        results += [{"image_id": number, "file_name": str(path), **entry} for entry in entries]
        print(f"{path}: " + (", ".join(f"{entry['category']} {entry['score']:.2f}" for entry in entries) or "nothing found"))
    write_text(Path(out, "detections.json"), json_format.dumps(results))


def fuse(checkpoint: str, *, out: str) -> None:
    """Write a checkpoint's deploy form and print how far it is from the original.

    Args:
        checkpoint: a file of a training run.
        out: the .safetensors file to write; `metamixer predict --checkpoint` (of a detector `detect`) takes it.
    """
    if Path(out).suffix != ".safetensors":
        raise InputError(f"out {out!r}, expected a name that ends in .safetensors")
    network, info = load_checkpoint(checkpoint)
    fused = fuse_network(network)
    with torch.inference_mode():
        expected, actual = (FUSE_PROBES[info["task"]](net, info) for net in (network, fused))
    difference = ((actual - expected).abs().max() / expected.abs().max()).item()
    save_network(fused, {**info, "fused": True}, out)
    before, after = (sum(parameter.numel() for parameter in net.parameters()) for net in (network, fused))
    modules = [sum(1 for module in net.modules() if not list(module.children())) for net in (network, fused)]
    print(f"{out}: {after:,} parameters (were {before:,}), {modules[1]} operators (were {modules[0]})")
    print(f"parity on random images: largest difference {difference:.1e} of the largest value")


def _classifier_probe(network: nn.Module, info: dict) -> torch.Tensor:
    """Logits of eight random images."""
    settings = Preprocessing.from_dict(info["preprocessing"])
    return network(torch.randn(8, settings.in_chans, settings.size, settings.size, generator=torch.Generator().manual_seed(0)))


def _detector_probe(network: nn.Module, info: dict) -> torch.Tensor:
    """Pyramid of a random image and the box heads' logits of regions of it."""
    image = torch.randn(1, 3, 256, 320, generator=torch.Generator().manual_seed(0))
    levels = network.forward_features(image)
    regions = levels[0][:, :, :7, :7]
    return torch.cat([part.flatten() for part in (*levels, *(head(regions)[0] for head in network.cascade.box_heads))])


def _forecaster_probe(network: nn.Module, info: dict) -> torch.Tensor:
    """Forecasts of eight random windows."""
    shape = info["model_args"]["lookback"], info["model_args"]["variables"]
    return network(torch.randn(8, *shape, generator=torch.Generator().manual_seed(0)))


FUSE_PROBES = {"classification": _classifier_probe, "detection": _detector_probe, "forecasting": _forecaster_probe}
"""What a network of a task gives for fixed random input, by which its deploy form is compared with it."""


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
    from .models import create_model, list_models
    from .models.paper import BOX_AND_MASK_AP, TOP1

    print(f"{'network':26s}{'params':>9s}{'MACs':>10s}{'pixels':>8s}{'top-1 (paper)':>15s}")
    for name in list_models("classification"):
        for tag in timm.list_models(name, include_tags=True):
            size = timm.get_pretrained_cfg(tag).input_size[-1]
            complexity = measure_deploy_form(name, size)
            accuracy = f"{TOP1[tag]:.1f}" if tag in TOP1 else "ours"
            print(f"{tag:26s}{complexity.params / 1e6:7.1f} M{complexity.macs / 1e9:8.2f} G{size:8d}{accuracy:>15s}")
    print(f"{'detector':37s}{'params':>8s}{'box / mask AP (paper)':>26s}")
    for name in list_models("detection"):
        with torch.device("meta"):
            network = fuse_network(create_model(name))
        params = sum(parameter.numel() for parameter in network.parameters())
        precision = "{:.1f} / {:.1f}".format(*BOX_AND_MASK_AP[name]) if name in BOX_AND_MASK_AP else "ours"
        print(f"{name:37s}{params / 1e6:6.1f} M{precision:>26s}")


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


def forecast(
    table: str,
    *,
    horizon: int | None = None,
    lookback: int | None = None,
    out: str = "forecast.csv",
    plot: str | None = None,
    checkpoint: str | None = None,
    save: str | None = None,
    levels: Sequence[float] = (),
    time: str | None = None,
    missing_values: Sequence[float] = (),
    steps: int | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> None:
    """Learn from a table of series, test that on its last rows, and forecast what comes after it.

    Args:
        table: CSV (gzip too) or Parquet, wide (a column of dates, a column a series) or long (unique_id, ds, y).
        horizon: steps to forecast; 96, or the checkpoint's.
        lookback: steps to forecast from; 96, or the checkpoint's.
        out: the CSV file to write the forecast to.
        plot: the picture to draw.
        checkpoint: a forecaster that `save` or a training run wrote, in place of learning from the table.
        save: the .safetensors file to keep the forecaster in.
        levels: coverage in percent of intervals to give beside, such as [80, 95].
        time: the column of dates of a wide table, where it isn't named date, ds, time, timestamp or datetime.
        missing_values: numbers that stand for a missing value, such as [-9999].
        steps: steps of training.
        seed: of everything random.
        device: where to compute, such as cpu or cuda.
    """
    from .allocator import keep_freed_memory
    from .data.tables import read_table
    from .forecast_plot import draw_forecast
    from .forecaster import Forecaster, Training

    if save and Path(save).suffix != ".safetensors":
        raise InputError(f"save {save!r}, expected a name that ends in .safetensors")
    keep_freed_memory()
    frame = read_table(table, missing_values=missing_values)
    if checkpoint:
        forecaster = Forecaster.load(checkpoint, horizon=horizon, lookback=lookback, device=device)
        result = forecaster.predict(frame)
    else:
        training = Training() if steps is None else Training(steps=steps)
        forecaster = Forecaster(
            horizon or 96, lookback=lookback or 96, levels=levels, time=time, training=training, seed=seed, device=device
        )
        result = forecaster.fit(frame).predict()
        print(forecaster.backtest())
    if plot:
        draw_forecast(frame, result, forecaster, Path(plot))
    if save:
        forecaster.save(save)
    write_text(Path(out), result.to_csv(index=False).rstrip("\n"))
    print(f"{out}: {forecaster.horizon} steps of {len(forecaster.names)} series")
