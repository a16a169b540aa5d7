"""Time `import metamixer`, compared with `import timm`: fresh processes in turn, medians and their ratio.

python benchmarks/import_time.py
"""

import statistics
import subprocess
import sys
import time

ROUNDS = 7


def seconds(statement: str) -> float:
    """Wall time of a fresh process that runs one statement."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start


def main() -> None:
    seconds("import timm, metamixer")
    pairs = [(seconds("import timm"), seconds("import metamixer")) for _ in range(ROUNDS)]
    timm_median, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(metamixer / timm for timm, metamixer in pairs)
    print(
        f"import timm {timm_median:.2f} s, import metamixer {ours:.2f} s, ratio {ratio:.2f} (medians of {ROUNDS} pairs)"
    )


if __name__ == "__main__":
    main()
