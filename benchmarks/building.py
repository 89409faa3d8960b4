"""What a kept package task takes a worker, in the first visits of a large order, into an empty cache.

python benchmarks/building.py [tasks of each family and split, 100 if left out] [family ...]

Another version's figures on the same machine: the same with its `src` as PYTHONPATH.
"""

import os
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from rollin.tasks.build import Candidate, Order, build
from rollin.tasks.schema import Family, Split

PACKAGES = Path(__file__).parents[1] / "recipes" / "packages.json"
ORDERED = {Split.TRAIN: 700, Split.EVAL: 350}
"""How many tasks a visit is asked for depends on the whole order."""
WORKERS = os.cpu_count() or 1


class EnoughError(Exception):
    """So many tasks were kept."""


def built(order: Order, wanted: int, cache: Path) -> list[Candidate]:
    """What came of each visit until so many tasks were kept."""
    kept = 0

    def advance(more: int) -> None:
        nonlocal kept
        kept += more
        if kept >= wanted:
            raise EnoughError

    with suppress(EnoughError):
        build(order, cache, WORKERS, advance)
    return [Candidate.model_validate_json(path.read_text()) for path in sorted((cache / "candidates").glob("*.json"))]


def main() -> None:
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    families = [Family(name) for name in sys.argv[2:]] or [Family.VISIBLE, Family.SEMANTIC, Family.REGRESSION]
    print(f"{WORKERS} workers at once; bar 1.5 s (median)")
    print(f"{'family':<10} {'split':<6} {'visits':>6} {'kept':>5} {'wall, s':>8} {'median, s':>9} {'mean, s':>8}")
    for family in families:
        for split, count in ORDERED.items():
            with tempfile.TemporaryDirectory() as cache:
                begun = time.monotonic()
                found = built(Order("package", family, split, count, catalogue=PACKAGES), wanted, Path(cache))
                wall = time.monotonic() - begun
            each = [visit.seconds / len(visit.tasks) for visit in found for _ in visit.tasks]
            spent = sum(visit.seconds for visit in found) / len(each)
            row = f"{len(found):>6} {len(each):>5} {wall:>8.1f} {statistics.median(each):>9.2f} {spent:>8.2f}"
            print(f"{family.value:<10} {split.value:<6} {row}", flush=True)


if __name__ == "__main__":
    main()
