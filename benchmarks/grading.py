"""Published tasks without containers: the reference patch has to resolve each, and no patch must not.

ROLLIN_REPOSITORIES=FOLDER python benchmarks/grading.py ROWS.jsonl [instance_id ...]

ROWS are a data set's, FOLDER holds clones of their repositories. `grading.yaml` beside this file says what these want
beyond what they declare. Graded by the installed `swebench`: its log parsers, its rules.
"""

import logging
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rollin.errors import InfrastructureFault, UserError
from rollin.tasks.cache import cache_folder
from rollin.tasks.choosing import Choice
from rollin.tasks.grading import Grade, grade
from rollin.tasks.native.converting import converted, read_terms
from rollin.tasks.published.reading import Source, read
from rollin.tasks.schema import Task

WORKERS = 2


@dataclass(frozen=True)
class Row:
    """What came of one task."""

    task: Task
    gold: Grade | None = None
    empty: Grade | None = None
    seconds: float = 0.0
    """Of both grades, and of making the environment where it wasn't there."""
    fault: str = ""

    @property
    def agrees(self) -> bool:
        return self.gold is not None and self.gold.resolved and self.empty is not None and not self.empty.resolved


def tried(task: Task) -> Row:
    started = time.monotonic()
    repositories = cache_folder() / "repositories"
    try:
        gold, empty = grade(task, task.patch, repositories), grade(task, "", repositories)
    except (InfrastructureFault, UserError) as fault:
        return Row(task, fault=str(fault).removeprefix(f"task {task.instance_id}: "))
    keep_log(task, gold)
    return Row(task, gold, empty, time.monotonic() - started)


def keep_log(task: Task, gold: Grade) -> None:
    """What the tests printed, to look at where grading doesn't agree."""
    folder = cache_folder() / "grading"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{task.instance_id}.log").write_text(gold.log)


def passed(row: Row, kind: str, found: Grade | None) -> str:
    expected = row.task.FAIL_TO_PASS if kind == "FAIL_TO_PASS" else row.task.PASS_TO_PASS
    return f"{len(found.report[kind]['success']) if found and found.report else 0}/{len(expected)}"


def verdict(found: Grade | None) -> str:
    return "-" if found is None else "resolved" if found.resolved else "not"


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    ids = sys.argv[2:]
    source = Source(sys.argv[1], is_file=True)
    chosen = Choice(ids=ids).of(read(source), source.name)
    found = converted(chosen.tasks, read_terms(Path(__file__).with_suffix(".yaml")))
    heads = ("gold", "empty", "gold F2P", "gold P2P", "empty F2P", "seconds", "agrees")
    print(f"{'instance':<32}" + "".join(f"{head:>11}" for head in heads))
    rows = list[Row]()
    with ThreadPoolExecutor(WORKERS) as pool:
        for row in pool.map(tried, found.tasks):
            rows.append(row)
            cells = [verdict(row.gold), verdict(row.empty), passed(row, "FAIL_TO_PASS", row.gold)]
            cells += [passed(row, "PASS_TO_PASS", row.gold), passed(row, "FAIL_TO_PASS", row.empty)]
            cells += [f"{row.seconds:.1f}", "yes" if row.agrees else "NO"]
            cells = ["-"] * 6 + ["not run"] if row.fault else cells
            print(f"{row.task.instance_id:<32}" + "".join(f"{cell:>11}" for cell in cells), flush=True)
    run = [row for row in rows if not row.fault]
    print(f"\n{sum(row.agrees for row in run)} of {len(run)} agree; {len(found.tasks) - len(run)} could not run")
    for name, reason in [*found.refused.items(), *((row.task.instance_id, row.fault) for row in rows if row.fault)]:
        print(f"  {name}: {reason}")


if __name__ == "__main__":
    main()
