"""Opening `run.db`: what is no run, what can't be written, what is full: a sentence each."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted import make_task
from store_room import PENDING, begin, state

from rollin.errors import UserError
from rollin.mixture import Actor
from rollin.policies.base import Action
from rollin.store import Store
from rollin.store.database import SCHEMA_VERSION, WriterLock


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "run.db", {"method": "dagger"}) as store:
        store.add_tasks([make_task()])
        yield store


def test_a_run_is_not_created_over_another(store: Store) -> None:
    with pytest.raises(UserError, match="already holds a run"):
        Store.create(store.path, {})


def test_another_schema_version_is_refused(store: Store) -> None:
    store.close()
    with sqlite3.connect(store.path) as db:
        db.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    with pytest.raises(UserError, match=f"has schema 99, this rollin reads {SCHEMA_VERSION}"):
        Store.resume(store.path)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no run"):
        Store.resume(tmp_path / "nowhere" / "run.db")
    (tmp_path / "text.db").write_text("this is no database" * 100)
    with pytest.raises(UserError, match="damaged"):
        Store.resume(tmp_path / "text.db")
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE t (a)")
    with pytest.raises(UserError, match="not a rollin run"):
        Store.read(tmp_path / "other.db")


def test_a_torn_file_is_refused(store: Store) -> None:
    trajectory = begin(store)
    for turn in range(200):
        store.record_turn(trajectory.id, turn, state(turn), Actor.STUDENT, Action("a" * 300), PENDING, 0)
    store.close()
    data = bytearray(store.path.read_bytes())
    data[8192:] = os.urandom(len(data) - 8192)
    store.path.write_bytes(data)
    with pytest.raises(UserError, match="damaged"):
        Store.resume(store.path)


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot create"):
        Store.create(tmp_path / "file" / "run.db", {})
    with pytest.raises(UserError, match="cannot create"):
        Store.create(Path("/proc/rollin/run.db"), {})


def test_a_run_on_a_read_only_place_is_read(store: Store) -> None:
    begin(store)
    store.close()
    assert {file.name for file in store.path.parent.iterdir()} == {"run.db", "run.lock"}
    script = f"""
from pathlib import Path
from rollin.errors import UserError
from rollin.store import Store
with Store.read(Path({str(store.path)!r})) as store:
    print(len(store.trajectories()))
try:
    Store.resume(store.path)
except UserError as error:
    print(error)
"""
    command = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", sys.executable, "-c", script]
    outcome = subprocess.run(command, capture_output=True, text=True, check=True)
    assert outcome.stdout.startswith("1\ncannot write"), outcome.stdout
    assert "(Read-only file system); check its permissions" in outcome.stdout


def test_a_lock_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot write .*No such file"):
        WriterLock(tmp_path / "nowhere" / "run.lock")


def test_a_full_disk_is_called_that(tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from rollin.errors import UserError
from rollin.store import Store
try:
    Store.create(Path("{tmp_path}/run.db"), {{"name": "long " * 20_000}})
except UserError as error:
    print(error)
"""
    small = ["--ro-bind", "/", "/", "--dev", "/dev", "--size", "65536", "--tmpfs", str(tmp_path)]
    outcome = subprocess.run(
        ["bwrap", *small, sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert outcome.stdout.endswith("make room on its disk\n"), outcome.stdout
