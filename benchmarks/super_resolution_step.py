"""Where the time of a training step of ffnet_sr_nano goes, by kind of layer, compared with the multiply-accumulates.

    python benchmarks/super_resolution_step.py

Steps as of recipes/super_resolution/291_images_x2.yaml, on random patches: 64 pixels a side, 8 in a batch. Hooks time
each convolution and activation of the mixers, in the forward and in the backward, which computes the gradients of
inputs and weights; the rest is what the step takes besides: stem, head, sums, loss, hooks. CPU time of one thread,
medians over the steps. Writes benchmarks/results/super_resolution_step.{json,md}.
"""

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import lightning as L
import torch
from report import write_results
from torch import Tensor, nn
from torch.utils.data import DataLoader

from metamixer.mixer import ConvNeXtFFN, FFNifiedAttention
from metamixer.models.ffnet_sr import FFNetSR
from metamixer.system.machine import computes_bfloat16, describe_machine
from metamixer.tasks import SuperResolution

RESULTS = Path(__file__).parent / "results/super_resolution_step"
SCALE, PATCH, BATCH = 2, 64, 8
WARMUP, STEPS = 3, 20
KINDS = ("depthwise, token mixers", "depthwise, channel mixers", "pointwise", "activations", "rest")
PHASES = ("forward", "backward")


def layers_of_mixers(network: FFNetSR) -> Iterator[tuple[str, nn.Module]]:
    """The kind and the layer of each convolution and activation in the mixers."""
    for mixer in network.modules():
        if isinstance(mixer, FFNifiedAttention | ConvNeXtFFN):
            depthwise = KINDS[0] if isinstance(mixer, FFNifiedAttention) else KINDS[1]
            for layer in mixer.modules():
                if isinstance(layer, nn.Conv2d):
                    yield depthwise if layer.groups > 1 else KINDS[2], layer
                elif isinstance(layer, nn.GELU):
                    yield KINDS[3], layer


def macs_by_kind(network: FFNetSR, x: Tensor) -> Counter:
    """Multiply-accumulates of the forward; the rest are those of stem and head."""
    macs: Counter = Counter()
    kinds = {layer: kind for kind, layer in layers_of_mixers(network)}

    def count(layer: nn.Conv2d, _, output: Tensor) -> None:
        macs[kinds.get(layer, KINDS[-1])] += output.numel() * layer.weight[0].numel()

    hooks = [each.register_forward_hook(count) for each in network.modules() if isinstance(each, nn.Conv2d)]
    with torch.inference_mode():
        network(x)
    for hook in hooks:
        hook.remove()
    return macs


class Clock(L.Callback):
    """Seconds by phase and kind of layer, one entry per step."""

    def __init__(self):
        self.steps: list[dict[str, Counter]] = []
        self.begun = 0.0

    def on_fit_start(self, trainer: L.Trainer, task: SuperResolution) -> None:
        for kind, layer in layers_of_mixers(task.network):
            layer.register_forward_pre_hook(self.start())
            layer.register_forward_hook(self.stop("forward", kind))
            layer.register_full_backward_pre_hook(self.start())
            layer.register_full_backward_hook(self.stop("backward", kind))

    def start(self) -> Callable:
        """Hook that starts the clock of a layer; layers run one after the other."""

        def hook(*_) -> None:
            self.begun = time.process_time()

        return hook

    def stop(self, phase: str, kind: str) -> Callable:
        """Hook that adds the time since the start."""

        def hook(*_) -> None:
            self.steps[-1][phase][kind] += time.process_time() - self.begun

        return hook

    def on_train_batch_start(self, *_) -> None:
        self.steps.append(defaultdict(Counter))
        self.phase_begun = time.process_time()

    def on_before_backward(self, *_) -> None:
        self.end_phase("forward")

    def on_after_backward(self, *_) -> None:
        self.end_phase("backward")

    def end_phase(self, phase: str) -> None:
        """Give what no such layer took to the rest."""
        now = time.process_time()
        seconds = self.steps[-1][phase]
        seconds[KINDS[-1]] = now - self.phase_begun - seconds.total()
        self.phase_begun = now

    def medians(self) -> dict[str, dict[str, float]]:
        """Phase -> kind -> milliseconds."""
        counted = self.steps[WARMUP:]
        return {
            phase: {kind: 1e3 * median(step[phase][kind] for step in counted) for kind in KINDS} for phase in PHASES
        }


class Patches(L.LightningDataModule):
    """Random batches of a small and a large patch."""

    scale = SCALE

    def train_dataloader(self) -> DataLoader:
        torch.manual_seed(0)
        pair = torch.rand(BATCH, 3, PATCH // SCALE, PATCH // SCALE), torch.rand(BATCH, 3, PATCH, PATCH)
        return DataLoader([pair] * (WARMUP + STEPS), batch_size=None)


def measure(precision: str) -> dict[str, dict[str, float]]:
    """Milliseconds of a step in this precision of the Trainer."""
    torch.manual_seed(0)
    clock = Clock()
    trainer = L.Trainer(
        max_epochs=1,
        precision=precision,
        accelerator="cpu",
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(SuperResolution("ffnet_sr_nano", SCALE), Patches())
    return clock.medians()


def write(macs: Counter, times: dict[str, dict]) -> None:
    """Write the results as JSON and as a table."""
    lines = [
        f"A training step of `ffnet_sr_nano` at x{SCALE}, {BATCH} patches of {PATCH} px, CPU time of "
        f"one thread; medians of {STEPS} steps. MACs: of the forward; the backward has twice as many.",
        f"Measured on: {describe_machine()}.",
        "",
        f"| | {' | '.join(KINDS)} | all |",
        "|---" * (len(KINDS) + 2) + "|",
        row("MACs", macs, f"{macs.total() / 1e9:.2f} G"),
    ]
    for precision, phases in times.items():
        for phase, taken in phases.items():
            lines.append(row(f"{phase}, {precision}", taken, f"{sum(taken.values()):.0f} ms"))
    write_results(RESULTS, lines, {"macs": macs, "milliseconds": times})


def row(title: str, values: dict[str, float], whole: str) -> str:
    """A line of the table: the fraction of each kind."""
    return f"| {title} | {' | '.join(f'{values[kind] / sum(values.values()):.0%}' for kind in KINDS)} | {whole} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = ["bf16-mixed", "32-true"] if computes_bfloat16() else ["32-true"]
    parser.add_argument("--precisions", nargs="+", default=usual, help="of the Trainer")
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = SuperResolution("ffnet_sr_nano", SCALE).network
    macs = macs_by_kind(network, torch.rand(BATCH, 3, PATCH // SCALE, PATCH // SCALE))
    write(macs, {precision: measure(precision) for precision in options.precisions})


if __name__ == "__main__":
    main()
