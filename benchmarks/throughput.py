"""Where the time goes with many trajectories at once: python benchmarks/throughput.py TASKS.jsonl [TRAJECTORIES] [RUN]

The scripted expert acts, so no model takes any of it. CPU time of rollin's own process (harness, gateway, store,
expert) stands against that of all others, which on a machine that does nothing else are the sandboxes' (their processes
end under another parent, so they can't be asked themselves).
"""

import os
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


def cpu() -> tuple[float, float]:
    """CPU seconds so far: of this process, and of the whole machine (user, nice, system, interrupts)."""
    own = os.times()
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, irq, softirq, *_ = (int(field) / os.sysconf("SC_CLK_TCK") for field in fields)
    return own.user + own.system, user + nice + system + irq + softirq


def main() -> None:
    tasks = read_tasks(Path(sys.argv[1]))
    count = int(sys.argv[2]) if len(sys.argv) > 2 else TRAJECTORIES
    if len(tasks) < count:
        raise SystemExit(f"{sys.argv[1]} holds {len(tasks)} tasks; build {count}, one for each trajectory")
    directory = Path(sys.argv[3]) if len(sys.argv) > 3 else Path(tempfile.mkdtemp())
    with Store.create(directory / "run.db", {"name": "throughput"}) as store:
        store.add_tasks(tasks[:count])
        expert_alone(tasks[:1], store, ConsoleReporter(Console(stderr=True)), 1)  # imports, caches
        before, started = cpu(), time.perf_counter()
        rows = expert_alone(tasks[1:count], store, ConsoleReporter(Console(stderr=True)), count)
        wall = time.perf_counter() - started
        ours, machine = (after - earlier for earlier, after in zip(before, cpu(), strict=True))
        turns = sum(len(store.turns(row.id)) for row in rows)
    resolved = sum(bool(row.resolved) for row in rows)
    theirs = machine - ours
    print(f"{len(rows)} trajectories, {resolved} resolved; {turns} turns in {wall:.1f} s on {os.cpu_count()} cores")
    print(f"CPU seconds: sandboxes {theirs:.1f}, rollin {ours:.1f} ({1000 * ours / turns:.1f} ms a turn)")
    print(f"share of the sandboxes' commands: {theirs / machine:.0%}; bar {BAR:.0%}")


if __name__ == "__main__":
    main()
