"""What the gateway keeps: bytes of run.db for each byte that is new in a conversation, and memory over 10,000 turns.

python benchmarks/gateway_load.py [sessions] [turns]

200 sessions of 50 turns, 16 at a time, whose histories grow to 100 kB; half of the turns are the teacher's, and all
are labelled.
"""

import multiprocessing
import resource
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import Pool
from pathlib import Path

import httpx
from gateway import TASK, spec

from rollin.gateway import Gateway
from rollin.policies.base import Action
from rollin.policies.base import Request as PolicyRequest
from rollin.store import Store

AT_ONCE = 16
OBSERVATION = "tests/test_module.py .F.. [ 50%]\n" * 60
"""2 kB: with what it answers, a history of 100 kB in 50 turns."""
SIZE_BAR, GROWTH_BAR = 3.0, 1.10


class Answering:
    """Says something new at every turn, at once."""

    name = "answering"

    async def act(self, request: PolicyRequest) -> Action:
        return Action(f"Turn {request.turn} of {request.trajectory}.\n```bash\npython -m pytest -q\n```")

    def forget(self, trajectory: str) -> None: ...

    async def close(self) -> None: ...


def converse(url: str, key: str, turns: int) -> int:
    """A session's calls; the bytes that were new in them. Runs in a process of its own."""
    messages = [{"role": "system", "content": "You repair."}, {"role": "user", "content": f"Task {key}. " * 20}]
    new = sum(len(message["content"]) for message in messages)
    with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=60, trust_env=False) as client:
        for turn in range(turns):
            answer = client.post(
                f"{url}/chat/completions", json={"model": "m", "messages": messages}
            ).raise_for_status()
            said = answer.json()["choices"][0]["message"]["content"]
            seen = f"{OBSERVATION}{key} {turn}"
            messages += [{"role": "assistant", "content": said}, {"role": "user", "content": seen}]
            new += len(said) + len(seen)
    return new


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def measure(pool: Pool, store: Store, sessions: int, turns: int) -> tuple[int, list[float]]:
    """(bytes that were new, memory after each round of sessions)."""
    new, memory = 0, list[float]()
    with Gateway(store) as gateway, ThreadPoolExecutor(AT_ONCE) as threads:
        for start in range(0, sessions, AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, sessions))
            keys = [gateway.open_session(spec(store, Answering(), number)) for number in numbers]
            new += sum(threads.map(lambda key: pool.apply(converse, (gateway.url, key, turns)), keys))
            for key in keys:
                gateway.close_session(key)
            gateway.await_labels()
            memory.append(resident_mb())
            print(f"{numbers[-1] + 1} sessions, {(numbers[-1] + 1) * turns} turns: {memory[-1]:.0f} MB", flush=True)
    return new, memory


def main() -> None:
    sessions = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    turns = int(sys.argv[2]) if len(sys.argv) > 2 else 50
    with tempfile.TemporaryDirectory() as folder, multiprocessing.get_context("spawn").Pool(2) as pool:
        path = Path(folder) / "run.db"
        with Store.create(path, {}) as store:
            store.add_tasks([TASK])
            new, memory = measure(pool, store, sessions, turns)
            written = sum(len(store.turns(row.id)) for row in store.trajectories())
        assert written == sessions * turns, (written, sessions * turns)
        ratio = path.stat().st_size / new
    growth = memory[-1] / memory[len(memory) // 2]
    verdict = "held" if ratio < SIZE_BAR else "MISSED"
    print(f"run.db: {ratio:.2f} bytes for each byte of new messages; bar {SIZE_BAR:.0f}: {verdict}")
    verdict = "held" if growth < GROWTH_BAR else "MISSED"
    print(f"memory: {growth:.2f} times over the second half; bar {GROWTH_BAR}: {verdict}")


if __name__ == "__main__":
    main()
