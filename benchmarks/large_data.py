"""Run prep on a made-up file of a million rows and print its peak memory and processor time.

Example:
    python benchmarks/large_data.py --rows 1000000 --limit_gib 2
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
LABELS = ("account", "billing", "delivery", "product", "returns")


def write_rows(path: Path, rows: int, seed: int) -> None:
    """Write rows of 5 to 35 made-up words, of which one in a thousand repeats the row before."""
    generator = random.Random(seed)
    words = ["".join(generator.choices("aeinorstlmdkpu", k=generator.randint(2, 9))) for _ in range(20_000)]
    text = ""
    with path.open("w", encoding="utf-8") as stream:
        for number in range(rows):
            if number % 1000 or not number:
                text = " ".join(generator.choices(words, k=generator.randint(5, 35)))
            row = {"text": text, "label": generator.choice(LABELS), "id": number, "source": f"shop {number % 50}"}
            stream.write(json.dumps(row) + "\n")


def main() -> None:
    """Make the file, run prep, and fail when it took more memory than allowed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--limit_gib", type=float, default=2.0, help="more peak memory fails")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary) / "train.jsonl"
        write_rows(source, arguments.rows, seed=1)
        started = time.perf_counter()
        subprocess.run(
            [
                *(sys.executable, str(ROOT / "components" / "prep" / "prep.py"), "--data", str(source)),
                *("--dataset", str(Path(temporary) / "dataset"), "--slice_columns", "source"),
            ],
            check=True,
        )
        seconds = time.perf_counter() - started
        size = source.stat().st_size
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Linux counts in KiB.
    peak = usage.ru_maxrss / 2**20
    print(
        f"{arguments.rows:,} rows, {size / 1e6:.0f} MB: peak {peak:.2f} GiB, {seconds:.0f} s, "
        f"{usage.ru_utime + usage.ru_stime:.0f} CPU-seconds"
    )
    sys.exit(0 if peak <= arguments.limit_gib else f"error: more than {arguments.limit_gib} GiB")


if __name__ == "__main__":
    main()
