"""How much `metamixer restore` changes photographs that need no restoration: PSNR to themselves at default strength.

    python benchmarks/clean_photographs.py

The photographs of scikit-image and scikit-learn, whole, as 8-bit arrays; PSNR over all channels.
Writes benchmarks/results/clean_photographs.{json,md}.
"""

from pathlib import Path

import numpy as np
from noise_estimate import PHOTOGRAPHS
from report import write_results
from skimage.metrics import peak_signal_noise_ratio

from metamixer import Restorer
from metamixer.system.machine import describe_machine

RESULTS = Path(__file__).parent / "results/clean_photographs"
UNCHANGED = 45.0
"""PSNR in dB from which a photograph is unchanged to the eye."""


def measure() -> list[dict]:
    """A row per photograph; psnr: in dB, None for an equal result."""
    restorer = Restorer.load()
    rows = []
    for name, read in PHOTOGRAPHS.items():
        photograph = read()
        result = restorer(photograph)
        restored = np.asarray(result)
        same = np.array_equal(restored, photograph)
        psnr = None if same else round(float(peak_signal_noise_ratio(photograph, restored)), 2)
        found = result.estimate
        about = {"noise": round(found.noise, 2), "jpeg_quality": found.quality, "strength": round(result.strength, 3)}
        rows.append({"photograph": name, **about, "psnr": psnr})
        print(rows[-1], flush=True)
    return rows


def write(rows: list[dict]) -> None:
    """Write the results as JSON and as a table."""
    same = sum(row["psnr"] is None or row["psnr"] >= UNCHANGED for row in rows)
    lines = [
        f"Clean photographs restored at the default strength: {same} of {len(rows)} have {UNCHANGED:.0f} dB to "
        "themselves or more, with the weights in the package.",
        f"Measured on: {describe_machine()}.",
        "",
        "| photograph | noise found | JPEG quality found | strength | PSNR to itself |",
        "|---|---|---|---|---|",
        *(
            f"| {row['photograph']} | {row['noise']:.1f} | {row['jpeg_quality'] or ''} | {row['strength']:.2f} | "
            f"{'equal' if row['psnr'] is None else format(row['psnr'], '.1f')} |"
            for row in rows
        ),
    ]
    write_results(RESULTS, lines, {"rows": rows})


if __name__ == "__main__":
    write(measure())
