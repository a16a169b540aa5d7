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
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from report import write_results
from training_step_contenders import CONTENDERS, contend

from metamixer.system.machine import computes_bfloat16, describe_accelerator, describe_machine

ROOT = Path(__file__).parent.parent
PATIENCE = 300
"""Seconds that a step may take; the first one compiles."""


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
