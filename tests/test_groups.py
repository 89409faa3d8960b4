"""Control groups of sandboxes: where they can be made, what they bound, and that none is left."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attacks_room import FILES, SMALL

from rollin.errors import InfrastructureFault
from rollin.sandboxes import bubblewrap, groups
from rollin.sandboxes.bubblewrap import BubblewrapSandbox
from rollin.sandboxes.groups import Group, Home, home
from rollin.tasks.repository import build_repository

here = pytest.mark.skipif(home() is None, reason="this process may make no control groups here")


@pytest.fixture
def template(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return build_repository(FILES, [], tmp_path / "cache")[0]


@pytest.fixture
def fresh() -> Iterator[None]:
    """`home` looks anew, and does so once more afterwards."""
    home.cache_clear()
    yield
    home.cache_clear()


def left() -> list[Path]:
    """Groups of this process."""
    found = home()
    return [*found.place.glob(f"{groups.PREFIX}{os.getpid()}-*")] if found else []


@here
def test_what_is_held_is_bounded_and_the_sandbox_lives_on(template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The group's bound is a backstop: for this test it lies below those that come before it."""
    monkeypatch.setattr(bubblewrap, "SLACK", (64 - SMALL.memory_mb - SMALL.disk_mb) << 20)
    with BubblewrapSandbox(template, SMALL) as sandbox:
        found = sandbox.run("head -c 10000000 /dev/zero > full; python -c \"b'x' * (100 << 20)\"")
        assert (found.returncode, found.timed_out, found.killed) == (137, False, True), found
        assert "[killed: " in found.output
        calm = sandbox.run("wc -c < full")
        assert (calm.output.strip(), calm.returncode, calm.killed) == ("10000000", 0, False)
        assert left()
    assert not left()


@here
def test_a_group_is_gone_with_its_sandbox_however_it_ends(template: Path) -> None:
    with BubblewrapSandbox(template, SMALL) as sandbox:
        os.killpg(sandbox._process.pid, 9)
        with pytest.raises(InfrastructureFault):
            sandbox.run("true")
        assert not left()
    with pytest.raises(InfrastructureFault):
        BubblewrapSandbox(template / "nowhere", SMALL)
    assert not left()


@here
def test_a_group_that_has_gone_is_a_fault_and_nobodys_failure(template: Path, tmp_path: Path) -> None:
    with BubblewrapSandbox(template, SMALL) as sandbox:
        assert sandbox._group
        sandbox._group._events = tmp_path / "gone"
        with pytest.raises(InfrastructureFault, match="control group"):
            sandbox.run("true")


@here
def test_what_a_killed_process_left_is_removed_by_the_next(template: Path, fresh: None) -> None:
    code = "import os, sys\nfrom rollin.sandboxes.groups import Group, home\nGroup(home(), 1 << 30); os._exit(0)"
    subprocess.run([sys.executable, "-c", code], check=True)
    found = home()
    assert found
    others = [each for each in found.place.glob(f"{groups.PREFIX}*") if f"-{os.getpid()}-" not in each.name]
    assert all(Path("/proc", each.name.split("-")[1]).exists() for each in others)


@pytest.mark.parametrize(
    ("own", "place"),
    [
        ("4:memory:/a/b\n1:cpu:/\n0::/\n", "memory/a/b"),
        ("9:cpu,memory:/\n0::/\n", "memory"),
        ("0::/user.slice/user-0.slice/session-1.scope\n", "user.slice/user-0.slice"),
        ("0::/\n", ""),
        ("1:cpu:/\n", None),
    ],
)
def test_groups_are_made_below_ones_own_or_beside_it(
    own: str, place: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: None
) -> None:
    """Version 1, and version 2 as systemd mounts it. The kernel's own files are played by plain ones."""
    found: list[Home] = []
    monkeypatch.setattr(groups, "MOUNTED", tmp_path)
    monkeypatch.setattr(groups, "OWN", tmp_path / "own")
    monkeypatch.setattr(groups, "_serves", lambda candidate: not found.append(candidate))
    (tmp_path / "own").write_text(own)
    told = home()
    assert (told.place if told else None) == (tmp_path / place if place is not None else None)
    assert told is None or told.limit == ("memory.max" if own.startswith("0::/") else "memory.limit_in_bytes")


def test_where_no_group_can_be_made_there_is_none(tmp_path: Path) -> None:
    """A folder takes the place of the kernel's: what is written there bounds nothing, and nothing counts kills."""
    files = "memory.max", "memory.swap.max", "memory.events"
    assert not groups._serves(Home(tmp_path / "nowhere", *files))
    assert not groups._serves(Home(tmp_path, *files))
    assert not any(tmp_path.iterdir())
    (tmp_path / "cgroup.procs").touch()
    assert not groups._serves(Home(tmp_path, *files))
    with pytest.raises(OSError, match=r"memory\.events"):
        Group(Home(tmp_path, *files), 1 << 20)
