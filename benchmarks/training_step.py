"""Time a training step on the CPU or a GPU: plain PyTorch, timm's training loop, and `metamixer fit`, interleaved.

    python benchmarks/training_step.py --model ffnet_1 --size 224 --batch 16
    python benchmarks/training_step.py --device cuda --batch 128
    python benchmarks/training_step.py --device cuda --batch 128 --model ffnet_1 convnext_tiny \\
        --only "timm's loop, bf16, compiled" "metamixer fit, compile: true, bf16-mixed"

Each contender runs in a separate process, because the allocator's setting applies to a process, and takes its steps in
turn; the steps before (`--warmup`) run side by side, since compiling takes minutes. All contenders of a network have
the same initial weights and batches, so that their losses can be compared. Writes
benchmarks/results/training_step_MODEL_INSTRUCTIONS.{json,md}, with avx512, avx2 or cuda for INSTRUCTIONS; when it is
stopped, the rounds so far, and exits with 1.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch.nn import functional as F
from trainings import write_results

from metamixer.system.machine import computes_bfloat16, describe_accelerator, describe_machine

ROOT = Path(__file__).parent.parent
CLASSES = 1000
PATIENCE = 300
"""Seconds that a step may take; the first one compiles."""

BATCHES = 4
LEARNING_RATE, WEIGHT_DECAY, SMOOTHING = 1e-3, 0.05, 0.1


def batches(options: argparse.Namespace) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """A few labeled batches, the same for every contender."""
    generator = torch.Generator().manual_seed(0)
    shape = (options.batch, 3, options.size, options.size)
    return [
        (torch.randn(shape, generator=generator), torch.randint(CLASSES, shape[:1], generator=generator))
        for _ in range(BATCHES)
    ]


def network(options: argparse.Namespace) -> torch.nn.Module:
    """The network with its initial weights."""
    from metamixer import create_model

    torch.manual_seed(0)
    return create_model(options.model, num_classes=CLASSES).train()


def plain(options: argparse.Namespace, pipe: Connection) -> None:
    """The loop of a PyTorch tutorial."""
    from timm.optim import create_optimizer_v2

    model = network(options).to(options.device)
    optimizer = create_optimizer_v2(model, opt="adamw", lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    for images, labels in turns(pipe, options):
        loss = F.cross_entropy(model(images), labels, label_smoothing=SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        report(pipe, loss)


def timm_loop(options: argparse.Namespace, pipe: Connection, *, fast: bool = False) -> None:
    """The inner loop of timm's train.py, with its task, optimizer and loss meter.

    fast: with its options `--amp --amp-dtype bfloat16 --channels-last --torchcompile`.
    """
    from timm.optim import create_optimizer_v2
    from timm.task import ClassificationTask
    from timm.utils import AverageMeter

    layout = torch.channels_last if fast else torch.contiguous_format
    model = network(options).to(options.device, memory_format=layout)
    if fast:
        model.compile()
    task = ClassificationTask(
        model, criterion_kwargs={"smoothing": SMOOTHING}, device=torch.device(options.device), verbose=False
    )
    optimizer = create_optimizer_v2(model, opt="adamw", lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    losses = AverageMeter()
    optimizer.zero_grad()
    for images, labels in turns(pipe, options):
        with torch.autocast(options.device, torch.bfloat16, enabled=fast):
            loss = task(images.contiguous(memory_format=layout), labels)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.update(loss.item(), images.size(0))
        report(pipe, loss)


def fit(
    options: argparse.Namespace,
    pipe: Connection,
    *,
    precision: str = "32-true",
    compile: bool | str = False,
    kernels: bool = False,
    layout: torch.memory_format | None = None,
    benchmark: bool = False,
) -> None:
    """`metamixer fit`: the task and the Trainer, with the settings of the command; kernels: with `ops.accelerate`.

    layout: another than the one that `fit` chooses; benchmark: cuDNN tries its algorithms.
    """
    import lightning as L
    from torch.utils.data import DataLoader

    import metamixer.tasks.task
    from metamixer.ops import accelerate
    from metamixer.tasks import Classification, Optimization
    from metamixer.training.command_line import use_fast_settings

    use_fast_settings()

    class Turns(L.Callback):
        """Time a step from the start of this contender's turn to the point where the next step would start."""

        loss = None

        def on_train_batch_start(self, trainer, task, batch, index) -> None:
            if self.loss is not None:
                report(pipe, self.loss)
            if not wait(pipe):
                raise KeyboardInterrupt

        def on_train_batch_end(self, trainer, task, outputs, batch, index) -> None:
            self.loss = outputs["loss"]

    torch.manual_seed(0)
    optimization = Optimization(lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, warmup_epochs=0, schedule="constant")
    task = Classification(
        options.model,
        CLASSES,
        optimization=optimization,
        label_smoothing=SMOOTHING,
        mixup=0.0,
        cutmix=0.0,
        compile=compile,
    )
    if kernels:
        accelerate(task.network)
    if layout:
        metamixer.tasks.task.fastest_layout = lambda device, precision: layout
    trainer = L.Trainer(
        max_epochs=1,
        precision=precision,
        benchmark=benchmark,
        accelerator=options.device,
        callbacks=[Turns()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    endless = batches(options) * 1000
    with stopping():
        trainer.fit(task, DataLoader(endless, batch_size=None))


CONTENDERS: dict[str, tuple[Callable, dict]] = {
    "plain PyTorch, fp32": (plain, {}),
    "timm's loop, fp32": (timm_loop, {}),
    "metamixer fit": (fit, {}),
    "metamixer fit --trainer.precision bf16-mixed": (fit, {"precision": "bf16-mixed"}),
    "metamixer fit, compile: true": (fit, {"compile": True}),
    "metamixer fit, compile: true, bf16-mixed": (fit, {"precision": "bf16-mixed", "compile": True}),
    "metamixer fit, channels-last": (fit, {"layout": torch.channels_last}),
    "metamixer fit, NCHW, bf16-mixed": (fit, {"precision": "bf16-mixed", "layout": torch.contiguous_format}),
    "metamixer fit, benchmark: true, bf16-mixed": (fit, {"precision": "bf16-mixed", "benchmark": True}),
    "metamixer fit, compile: reduce-overhead, bf16-mixed": (
        fit,
        {"precision": "bf16-mixed", "compile": "reduce-overhead"},
    ),
    "metamixer fit, kernels, bf16-mixed": (fit, {"precision": "bf16-mixed", "kernels": True}),
    "metamixer fit, kernels, compile: true, bf16-mixed": (
        fit,
        {"precision": "bf16-mixed", "kernels": True, "compile": True},
    ),
    "timm's loop, bf16, compiled": (timm_loop, {"fast": True}),
}
"""Title -> function of (options, pipe) and its keyword arguments."""


def turns(pipe: Connection, options: argparse.Namespace) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield a batch each time it is this contender's turn."""
    data = batches(options)
    index = 0
    while wait(pipe):
        images, labels = data[index % BATCHES]
        yield images.to(options.device), labels.to(options.device)
        index += 1


def wait(pipe: Connection) -> bool:
    """Wait for the next turn; return False if there is none."""
    go = pipe.recv()
    wait.start = time.perf_counter()
    return go


def report(pipe: Connection, loss: torch.Tensor) -> None:
    """Send the seconds since the start of the turn, and the loss."""
    value = loss.item()
    taken = time.perf_counter() - wait.start
    pipe.send((taken, value, torch.cuda.max_memory_allocated() if loss.is_cuda else 0))


@contextmanager
def stopping() -> Iterator[None]:
    """End a contender by the interrupt on which Lightning ends the process."""
    with suppress(KeyboardInterrupt, SystemExit):
        yield


def contend(title: str, options: argparse.Namespace, pipe: Connection) -> None:
    """Start the process of a contender."""
    torch.set_num_threads(options.threads)
    function, keywords = CONTENDERS[title]
    function(options, pipe, **keywords)


def measure(contenders: dict[str, tuple[str, argparse.Namespace]], warmup: int, rounds: int) -> dict[str, dict]:
    """Let every contender take a step in turn, for `rounds` rounds, after `warmup` steps side by side.

    contenders: title -> key of `CONTENDERS` and options. Those that fail or run out of memory are left out.
    """
    context = multiprocessing.get_context("spawn")
    pipes = {}
    for title, (contender, options) in contenders.items():
        pipes[title], theirs = context.Pipe()
        context.Process(target=contend, args=(contender, options, theirs), daemon=True).start()
        theirs.close()
    steps: dict[str, list[tuple[float, float, int]]] = {title: [] for title in pipes}
    with suppress(KeyboardInterrupt):  # the rounds so far count
        for index in range(warmup + rounds):
            groups = [list(pipes)] if index < warmup else [[title] for title in pipes]
            for titles in groups:
                take_turn({title: pipes[title] for title in titles}, steps)
            pipes = {title: pipe for title, pipe in pipes.items() if len(steps[title]) > index}
    for pipe in pipes.values():
        with suppress(OSError):
            pipe.send(False)
    return {title: summary(steps[title], warmup) for title in pipes if len(steps[title]) > warmup}


def take_turn(pipes: dict[str, Connection], steps: dict[str, list]) -> None:
    """Let these contenders take a step side by side; one that has ended takes none."""
    for pipe in pipes.values():
        with suppress(OSError):
            pipe.send(True)
    for title, pipe in pipes.items():
        with suppress(EOFError, OSError):  # it has ended
            if pipe.poll(PATIENCE):
                steps[title].append(pipe.recv())
                continue
        print(f"{title}: failed or took over {PATIENCE} s, left out", flush=True)


def summary(steps: list[tuple[float, float, int]], warmup: int) -> dict:
    """Median and quartiles of the seconds, the losses of all steps, and the peak memory on a GPU."""
    seconds = [taken for taken, _, _ in steps[warmup:]]
    low, _, high = statistics.quantiles(seconds, n=4) if len(seconds) > 1 else seconds * 3
    return {
        "median": statistics.median(seconds),
        "quartiles": [low, high],
        "seconds": seconds,
        "losses": [loss for _, loss, _ in steps],
        "peak_gigabytes": max(memory for _, _, memory in steps) / 1e9,
    }


def write(rows: dict[str, dict], options: argparse.Namespace) -> None:
    """Write the results as JSON and as a table."""
    first, second = (next((row for title, row in rows.items() if name in title), None) for name in ("plain", "timm"))
    models = ", ".join(f"`{model}`" for model in options.model)
    lines = [
        f"Training step of {models}, batch {options.batch} at {options.size} px, {options.threads} threads, "
        f"{options.rounds} interleaved rounds after {options.warmup}. Measured on: {describe_device(options)}.",
        "",
        "| contender | median | quartiles | images/s | speed, first plain = 1 | speed, first timm = 1 | peak memory | "
        "loss after the last step |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for title, row in rows.items():
        low, high = row["quartiles"]
        against = [f"{ratio(other, row):.2f}" if other else "-" for other in (first, second)]
        memory = f"{row['peak_gigabytes']:.1f} GB" if row["peak_gigabytes"] else "-"
        lines.append(
            f"| {title} | {row['median']:.3f} s | {low:.3f} to {high:.3f} | {options.batch / row['median']:,.0f} | "
            f"{' | '.join(against)} | {memory} | {row['losses'][-1]:.4f} |"
        )
    kind = torch.backends.cpu.get_cpu_capability().lower() if options.device == "cpu" else options.device
    path = options.out or ROOT / f"benchmarks/results/training_step_{'_'.join(options.model)}_{kind}"
    content = {
        "machine": describe_device(options),
        "options": {key: str(value) for key, value in vars(options).items()},
        "rows": rows,
    }
    write_results(path, lines, content)


def describe_device(options: argparse.Namespace) -> str:
    """The device that ran the steps."""
    return describe_machine() if options.device == "cpu" else describe_accelerator() + describe_machine()


def ratio(other: dict, row: dict) -> float:
    """Speedup over another contender: the median over the rounds."""
    pairs = zip(other["seconds"], row["seconds"], strict=False)  # a stopped round may have only one of them
    return statistics.median(theirs / ours for theirs, ours in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=["ffnet_1"], help="networks of ours or timm's")
    parser.add_argument("--size", type=int, default=224, help="side of the images in pixels")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--warmup", type=int, default=2, help="rounds that don't count, before the others")
    parser.add_argument("--rounds", type=int, default=7)
    usual = [title for title in list(CONTENDERS)[:4] if "bf16" not in title or computes_bfloat16()]
    parser.add_argument(
        "--only",
        nargs="+",
        choices=list(CONTENDERS),
        default=usual,
        help="contenders; the default leaves out compiled ones and emulated bfloat16",
    )
    parser.add_argument("--out", type=Path, help="results to write, without the suffix")
    options = parser.parse_args()
    contenders = {
        f"{model}, {title}" if len(options.model) > 1 else title: (
            title,
            argparse.Namespace(**{**vars(options), "model": model}),
        )
        for model in options.model
        for title in options.only
    }
    rows = measure(contenders, options.warmup, options.rounds)
    write(rows, options)
    if not rows or any(len(row["seconds"]) < options.rounds for row in rows.values()):
        raise SystemExit("stopped before the last round")


if __name__ == "__main__":
    main()
