"""What interrupts a run: Ctrl-C and kills, at any moment. Committed turns are kept, and the run ends as a calm one."""

import contextlib
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_room import finish, ran, rollin, write_recipe

from rollin.store import Phase, Store


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


INTERRUPTED = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from rollin import cli, runs

def start(*parts):
    ThreadPoolExecutor().submit(time.sleep, 600)  # as a trajectory's command does
    raise KeyboardInterrupt

runs.start = start
sys.argv = ["rollin", "run", *sys.argv[1:]]
cli.main()
"""


def test_ctrl_c_waits_for_no_command(tmp_path: Path, tiny_directory: Path) -> None:
    recipe = write_recipe(tmp_path / "small.yaml", tiny_directory)
    command = [sys.executable, "-c", INTERRUPTED, recipe, "--out", tmp_path / "run"]
    assert subprocess.run(command, timeout=300, check=False).returncode == 130


def test_ctrl_c_in_the_middle_of_a_trajectory_loses_no_turn(tmp_path: Path, cache: Path, tiny_directory: Path) -> None:
    recipe, directory = write_recipe(tmp_path / "small.yaml", tiny_directory), tmp_path / "run"
    process = rollin(cache, "run", recipe, "--out", directory)
    assert lives_to_commit(process, directory / "run.db", 3)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert f"rollin resume {directory}" in " ".join(said.split())
    before = committed(directory / "run.db")
    ran(cache, "resume", directory)
    assert before <= committed(directory / "run.db")
    with Store.read(directory / "run.db") as store:
        assert [row.phase for row in store.iterations()] == [Phase.DONE] * 3


def recorded(path: Path) -> list[tuple[object, ...]]:
    """All that a run decided, without times and ids."""
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    turns = db.execute(
        """SELECT v.instance_id, v.iteration, v.purpose, v.turn, v.actor, v.observed, v.action, v.label, v.messages
           FROM turn_view v ORDER BY 1, 2, 3, 4"""
    ).fetchall()
    ends = db.execute(
        "SELECT instance_id, iteration, purpose, exit, resolved, patch FROM trajectories ORDER BY 1, 2, 3"
    )
    return turns + ends.fetchall()


def committed(path: Path) -> set[tuple[object, ...]]:
    if not path.exists():
        return set()
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    return set(db.execute("SELECT instance_id, iteration, purpose, turn, actor, action FROM turn_view"))


KILLS = 20


@pytest.mark.slow
def test_twenty_kills_lose_no_committed_turn_and_change_nothing(
    tmp_path: Path, cache: Path, tiny_directory: Path
) -> None:
    """Run after run is killed at random moments and resumed, until there were twenty kills; each ends as a calm one."""
    recipe = write_recipe(tmp_path / "small.yaml", tiny_directory, tasks_per_iteration=3)
    finish(rollin(cache, "run", recipe, "--out", tmp_path / "calm"))
    chance, kills, runs = random.Random(0), 0, 0
    while kills < KILLS:
        runs += 1
        assert runs <= KILLS, "the runs end before they can be killed"
        stormy = tmp_path / f"stormy-{runs}"
        kills += storm(recipe, stormy, cache, chance, KILLS - kills)
        assert recorded(stormy / "run.db") == recorded(tmp_path / "calm" / "run.db")


def storm(recipe: Path, directory: Path, cache: Path, chance: random.Random, most: int) -> int:
    """Bring a run to its end through at most so many kills, each some turns and up to two seconds after the last; how
    many it took."""
    database, kills = directory / "run.db", 0
    process = rollin(cache, "run", recipe, "--out", directory)
    while kills < most and lives_to_commit(process, database, chance.randint(1, 6)):
        try:
            process.wait(timeout=chance.uniform(0.0, 2.0))
            break  # it came to its end before it could be killed
        except subprocess.TimeoutExpired:
            before = committed(database)
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            assert before <= committed(database)
            process = rollin(cache, "resume", directory)
    finish(process)
    return kills


def lives_to_commit(process: subprocess.Popen[str], database: Path, turns: int) -> bool:
    """Wait until so many more turns are committed. False where the run ends before."""
    start = len(committed(database))
    while process.poll() is None:
        with contextlib.suppress(sqlite3.OperationalError):  # it has no tables yet
            if len(committed(database)) >= start + turns:
                return True
        time.sleep(0.05)
    return False
