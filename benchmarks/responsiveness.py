"""How long a sandbox takes for `true` while another one is under attack, and what the machine has to give for that.

python benchmarks/responsiveness.py [seconds of each attack]
"""

import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import psutil
from attack_table import ATTACKS, ROOT

from rollin.sandboxes.base import Sandbox
from rollin.sandboxes.bubblewrap import BubblewrapSandbox
from rollin.tasks.repository import build_repository

BAR = 1.0
PAUSE = 0.05
"""Seconds between two answers and the next question."""
SLEEPERS = "a command that never ends, as many times as commands run at once"


@contextmanager
def attacked(template: Path, script: str, seconds: float, times: int) -> Iterator[list[threading.Thread]]:
    with ExitStack() as stack:
        sandboxes = [stack.enter_context(BubblewrapSandbox(template)) for _ in range(times)]
        threads = [threading.Thread(target=each.run, args=(script,), kwargs={"seconds": seconds}) for each in sandboxes]
        for thread in threads:
            thread.start()
        time.sleep(0.5)  # an attack takes a moment to be one
        yield threads
        for thread in threads:
            thread.join()


def waits(neighbour: Sandbox, threads: list[threading.Thread]) -> tuple[list[float], int]:
    """Seconds of each `true` that was asked for during the attack, and the least memory that there was, in MB."""
    found, least = [], psutil.virtual_memory().available
    while any(thread.is_alive() for thread in threads):
        begun = time.perf_counter()
        neighbour.run("true")
        found.append(time.perf_counter() - begun)
        least = min(least, psutil.virtual_memory().available)
        time.sleep(PAUSE)
    return found, least >> 20


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 4.0
    rows = [("nothing", "sleep 1", 1)]
    rows += [(each.name, each.script, 1) for each in ATTACKS if each.kind == "resources" and ROOT in each.where]
    rows.append((SLEEPERS, "sleep 600", 2 * (os.cpu_count() or 1)))
    print(f"{'attack':<66} {'answers':>7} {'median, s':>9} {'worst, s':>9} {'bar, s':>11} {'memory, MB':>10}")
    with tempfile.TemporaryDirectory() as folder:
        template, _ = build_repository({"module.py": b"VALUE = 1\n"}, [], Path(folder))
        with BubblewrapSandbox(template) as neighbour:
            for name, script, times in rows:
                before = psutil.virtual_memory().available >> 20
                with attacked(template, script, seconds, times) as threads:
                    found, least = waits(neighbour, threads)
                if not found:
                    print(f"{name:<66} {0:>7} {'over before it could be measured':>31}")
                    continue
                verdict = f"{BAR:.0f} {'met' if max(found) < BAR else 'NOT MET'}"
                took = f"{statistics.median(found):>9.3f} {max(found):>9.3f} {verdict:>11}"
                print(f"{name:<66} {len(found):>7} {took} {before - least:>10}")


if __name__ == "__main__":
    main()
