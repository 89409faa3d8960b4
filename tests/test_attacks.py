"""Attacks, in every kind of sandbox that works here: what comes of them, what they leave, what comes next."""

import hashlib
import os
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from attack_scripts import HOST_PROCESS, PORT, SECRET_FILE
from attack_table import ATTACKS, CONTAINER, EVERYWHERE, Attack, Outcome
from attacks_room import SMALL, Backend, backend, mounts, processes_with
from gateway_room import Run
from scripted import make_task

from rollin.errors import InfrastructureFault
from rollin.gateway import Gateway
from rollin.report.tables import printable
from rollin.sandboxes.base import CommandResult, Sandbox
from rollin.store import Store

SECRET = f"secret-{uuid.uuid4().hex}"
SOON = 5.0
"""Seconds in which another sandbox answers, on a busy machine too. benchmarks/responsiveness.py measures it."""
ALONE = "set -- /proc/[0-9]*; echo $#"
"""How many processes there are."""
LOOK = """
git status --short --branch; git fsck; ls -A . /tmp; cat *.py
python -c "import sys, importlib.util as found; print(open(found.find_spec('pytest').origin).read())"
"""
"""Whether it is as it should be. (To run pytest itself would take half a second, after each attack.)"""


PLACES = [pytest.param(name, marks=[pytest.mark.slow] if name == CONTAINER else []) for name in EVERYWHERE]


@pytest.fixture(scope="module", params=PLACES)
def place(request: pytest.FixtureRequest) -> Iterator[Backend]:
    with backend(request.param) as made:
        yield made


@pytest.fixture(scope="module")
def looks(place: Backend) -> str:
    """What a sandbox looks like that no one has been in."""
    with place.open(SMALL, {}) as sandbox:
        return sandbox.run(LOOK, seconds=60.0).output


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What there is to be had: a file that all may read, a variable, a process, the gateway and a key of it."""
    with (
        tempfile.NamedTemporaryFile(prefix="rollin-", dir="/tmp") as file,
        pytest.MonkeyPatch.context() as patch,
        Store.create(tmp_path_factory.mktemp("run") / "run.db", {}) as store,
        Gateway(store) as gateway,
    ):
        file.write(SECRET.encode())
        file.flush()
        Path(file.name).chmod(0o644)
        patch.setenv("ROLLIN_TEST_SECRET", SECRET)
        store.add_tasks([make_task()])
        key = gateway.open_session(Run(store, gateway).spec())
        port = gateway.url.rsplit(":", 1)[1].split("/")[0]
        yield {SECRET_FILE: file.name, HOST_PROCESS: str(os.getpid()), PORT: port, "HARNESS_KEY": key}


ROWS = [pytest.param(attack, id=attack.name, marks=[pytest.mark.slow] if attack.slow else []) for attack in ATTACKS]


@pytest.mark.parametrize("attack", ROWS)
def test_an_attack_is_held(attack: Attack, place: Backend, host: dict[str, str], looks: str) -> None:
    if place.name not in attack.where:
        pytest.skip("there it means something else")
    script, mark = attack.script, uuid.uuid4().hex
    for word, value in host.items():
        script = script.replace(word, value)
    shared, mounted = digest(place), mounts()
    with place.open(SMALL, {"MARK": mark}) as sandbox, place.open(SMALL, {}) as neighbour:
        alone = sandbox.run(ALONE).output
        result, waited = beside(neighbour, sandbox, script, attack)
        check(attack, result, place)
        if attack.outcome is not Outcome.RUINS:
            assert sandbox.run(ALONE).output == alone
    assert not waited or statistics.median(waited) < SOON
    assert (digest(place), mounts(), processes_with(mark)) == (shared, mounted, [])
    assert not list(Path("/tmp").glob("raised")), "on the host"
    with place.open(SMALL, {}) as after:
        assert after.run(LOOK, seconds=60.0).output == looks


def beside(
    neighbour: Sandbox, sandbox: Sandbox, script: str, attack: Attack
) -> tuple[CommandResult | InfrastructureFault, list[float]]:
    """The attack's result, and how long another sandbox took to do nothing meanwhile."""
    found: list[CommandResult | InfrastructureFault] = []

    def attacked() -> None:
        try:
            found.append(sandbox.run(script, seconds=attack.seconds))
        except InfrastructureFault as fault:
            found.append(fault)

    thread, waited = threading.Thread(target=attacked), list[float]()
    thread.start()
    while thread.is_alive():
        thread.join(0.3)
        if thread.is_alive():
            begun = time.monotonic()
            assert neighbour.run("true").returncode == 0
            waited.append(time.monotonic() - begun)
    return found[0], waited


def check(attack: Attack, result: CommandResult | InfrastructureFault, place: Backend) -> None:
    loose = place.name == CONTAINER
    if attack.outcome is Outcome.RUINS:
        return  # a result or this trajectory's fault: no other exception came here
    assert isinstance(result, CommandResult), result
    assert SECRET not in result.output
    assert "BROKEN" not in result.output
    assert len(result.output) < (SMALL.output_kb << 10) + 200
    assert set(printable(result.output)) & set("\x1b\x07\x9b\0") == set()
    if attack.outcome is Outcome.TIMED_OUT or (attack.outcome is Outcome.KILLED and result.timed_out and loose):
        assert result.timed_out
    elif attack.outcome is Outcome.KILLED:
        assert "[killed: " in result.output or loose, result
        assert (result.returncode, result.timed_out) == (137, False), result
    elif attack.outcome in (Outcome.REFUSED, Outcome.TEXT):
        assert (result.returncode, result.timed_out) == (0, False), result
        assert "TRIED" in result.output


def digest(place: Backend) -> str:
    """Of what the sandboxes share on the host: names, times, modes and content."""
    if place.template is None:
        return ""
    paths = sorted(place.template.rglob("*"))
    told = [f"{path} {path.stat().st_mtime_ns} {path.stat().st_mode}".encode() for path in paths]
    content = [path.read_bytes() for path in paths if path.is_file()]
    return hashlib.sha256(b"".join(told + content)).hexdigest()
