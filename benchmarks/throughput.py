"""Where the time goes with many trajectories at once: python benchmarks/throughput.py TASKS.jsonl [TRAJECTORIES] [RUN]

The scripted expert acts, so no model takes any of it. CPU time of rollin's own process (harness, gateway, store,
expert) stands against that of the sandboxes' commands, and wall time against what the commands of one core took.
"""

import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from rollin.difficulty import expert_alone
from rollin.progress import ConsoleReporter
from rollin.store import Store
from rollin.tasks.schema import read_tasks

TRAJECTORIES = 64
BAR = 0.8


def cpu(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def main() -> None:
    tasks = read_tasks(Path(sys.argv[1]))
    count = int(sys.argv[2]) if len(sys.argv) > 2 else TRAJECTORIES
    if len(tasks) < count:
        raise SystemExit(f"{sys.argv[1]} holds {len(tasks)} tasks; build {count}, one for each trajectory")
    directory = Path(sys.argv[3]) if len(sys.argv) > 3 else Path(tempfile.mkdtemp())
    with Store.create(directory / "run.db", {"name": "throughput"}) as store:
        store.add_tasks(tasks[:count])
        expert_alone(tasks[:1], store, ConsoleReporter(Console(stderr=True)), 1)  # imports, caches
        before, started = (cpu(resource.RUSAGE_SELF), cpu(resource.RUSAGE_CHILDREN)), time.perf_counter()
        rows = expert_alone(tasks[1:count], store, ConsoleReporter(Console(stderr=True)), count)
        wall = time.perf_counter() - started
        ours, theirs = cpu(resource.RUSAGE_SELF) - before[0], cpu(resource.RUSAGE_CHILDREN) - before[1]
        turns = sum(len(store.turns(row.id)) for row in rows)
    resolved = sum(bool(row.resolved) for row in rows)
    share = theirs / (ours + theirs)
    print(f"{len(rows)} trajectories at once, {resolved} resolved; {turns} turns in {wall:.1f} s, {os.cpu_count()} cores")
    print(f"CPU seconds: sandboxes {theirs:.1f}, rollin {ours:.1f} ({1000 * ours / turns:.1f} ms a turn)")
    print(f"share of the sandboxes' commands: {share:.0%}; bar {BAR:.0%}")


if __name__ == "__main__":
    main()
