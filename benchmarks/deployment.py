"""Time our networks in every form, compared with the published form, and other networks in their fastest form.

    python benchmarks/deployment.py

The forms of a network run in separate processes, in turn, at batch sizes 1 and 8. Speed is the median over the rounds
of the speedup over the published form. The choice of `deploy` is compared with these times. Weights are random, because
they don't affect the time; errors are those on random images. bfloat16 is skipped if the processor would emulate it.

Writes benchmarks/results/deployment_INSTRUCTIONS.{json,md,png} after each network, with avx512 or avx2 for
INSTRUCTIONS. Networks with a result there are skipped.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import torch
from report import write_results

import metamixer
from metamixer.bench.accuracy import PUBLISHED
from metamixer.bench.protocol import PUBLISHED_FORM, Entry, Result, choose_forms, time_networks
from metamixer.bench.report import draw_pareto, fastest_forms, table
from metamixer.system.machine import computes_bfloat16, describe_machine

RESULTS = Path(__file__).parent / f"results/deployment_{torch.backends.cpu.get_cpu_capability().lower()}"
OURS = ("ffnet_1", "ffnet_2", "ffnet_3")
PEERS = (
    "convnext_tiny",
    "fastvit_sa12",
    "fastvit_sa24",
    "repvit_m1_5",
    "mobilenetv4_conv_large",
    "efficientvit_b2",
    "efficientformerv2_l",
    "caformer_s18",
    "swin_tiny_patch4_window7_224",
)
UPSCALER = "ffnet_sr_light"
"""Enlarges 256 px to 512 px."""

PRECISIONS = ("fp32", "bf16", "int8") if computes_bfloat16() else ("fp32", "int8")


def measure(name: str, *, rounds: int) -> dict:
    """Time all forms of a network at its own image size. Only FFNet-1 to 3 also run at batch size 8."""
    batches = (1, 8) if name in OURS else (1,)
    sizes, precisions = ((256,), PRECISIONS[:-1]) if name == UPSCALER else ((), PRECISIONS)
    results, peak = time_networks(
        [name],
        choose_forms((), precisions),
        sizes=sizes,
        batches=batches,
        threads=torch.get_num_threads(),
        rounds=rounds,
        warmup=2,
    )
    size = results[0].entry.size
    chosen = {str(batch): chosen_form(name, size, batch) for batch in batches} if name in (*OURS, UPSCALER) else {}
    return {"fp32_peak_gflops": peak, "results": [asdict(result) for result in results], "chosen": chosen}


def chosen_form(name: str, size: int, batch: int) -> str:
    """Name of the form that `metamixer.deploy` chooses, with its own timings."""
    torch.manual_seed(0)
    network = metamixer.create_model(name).eval()
    return metamixer.deploy(network, torch.randn(batch, 3, size, size), cache=False).name


def read(row: dict) -> list[Result]:
    """Results of `measure` from their JSON form."""
    return [Result(**{**each, "entry": Entry(**each["entry"])}) for each in row["results"]]


def choices(row: dict) -> list[str]:
    """One line per batch size: the choice of `deploy` compared with the fastest form that it chooses from."""
    lines = []
    for batch, name in row["chosen"].items():
        forms = {
            f"{result.entry.backend} {result.entry.precision}": result.median
            for result in read(row)
            if result.entry.batch == int(batch)
            and result.entry.backend != PUBLISHED_FORM
            and result.entry.precision != "int8"
        }
        speed = (
            f"{min(forms.values()) / forms[name]:.2f} times the speed of the fastest"
            if name in forms
            else "not among those timed"
        )
        lines.append(f"- `deploy` chose {name} for batch {batch}: {speed}.")
    return lines


def fastest_in(results: list[Result], precision: str) -> float:
    """Seconds of the fastest form in a precision, at batch size 1."""
    of_kind = [result for result in results if result.entry.precision == precision and result.entry.batch == 1]
    return min(result.median for result in of_kind if result.entry.backend != PUBLISHED_FORM)


def write(rows: dict[str, dict]) -> None:
    """Write the results as JSON, as tables and as a plot."""
    rounds = sorted({len(result.seconds) for row in rows.values() for result in read(row)})
    lines = [
        f"Medians of {' or '.join(map(str, rounds))} rounds. Measured on: {torch.get_num_threads()} threads, "
        f"{describe_machine()}."
    ]
    for name in (*OURS, UPSCALER):
        if name in rows:
            lines += ["", table(read(rows[name]), rows[name]["fp32_peak_gflops"]), "", *choices(rows[name])]
    timed = {name: read(row) for name, row in rows.items() if name != UPSCALER}
    fastest = [result for results in timed.values() for result in fastest_forms(results)]
    lines += ["", "Batch 1, milliseconds of the fastest form in each precision, except the published form:", ""]
    lines += [
        f"| network | px | {' | '.join(PRECISIONS)} | top-1, published |",
        "|---|---|" + "---|" * (len(PRECISIONS) + 1),
    ]
    for result in sorted(fastest, key=lambda result: result.median):
        entry = result.entry
        accuracy = PUBLISHED[entry.network, entry.size]
        times = " | ".join(f"{1e3 * fastest_in(timed[entry.network], kind):.1f}" for kind in PRECISIONS)
        lines.append(
            f"| {entry.network} | {entry.size} | {times} | {accuracy.top1:.1f} %{' (distilled)' * accuracy.distilled} |"
        )
    write_results(RESULTS, lines, {"rows": rows})
    draw_pareto(fastest, RESULTS.with_suffix(".png"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--networks", nargs="+", choices=(*OURS, UPSCALER, *PEERS), default=(*OURS, UPSCALER, *PEERS))
    options = parser.parse_args()
    file = RESULTS.with_suffix(".json")
    rows = json.loads(file.read_text())["rows"] if file.is_file() else {}
    for name in options.networks:
        rows[name] = rows.get(name) or measure(name, rounds=options.rounds)
        write({name: rows[name] for name in (*OURS, UPSCALER, *PEERS) if name in rows})


if __name__ == "__main__":
    main()
