"""The container engine as rollin finds it: a program is asked, whatever it is. No container is started here."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted import ScriptedPolicy, make_task

from rollin.doctor import checks
from rollin.errors import ImageUnavailable, InfrastructureFault, UserError
from rollin.evaluation.rate import Rate
from rollin.gateway import Gateway
from rollin.harnesses.mini_swe_agent import MiniSweAgent, MiniSweAgentSettings
from rollin.mixture import Actor, Student
from rollin.rollout import Attempt, Cast, Rollouts
from rollin.sandboxes import engine as engines
from rollin.sandboxes.base import Limits
from rollin.sandboxes.docker import DockerSandbox
from rollin.sandboxes.engine import VARIABLE, Engine, engine
from rollin.sandboxes.workspace import open_workspace
from rollin.store import Exit, Purpose, Store
from rollin.tasks.extraction import extract_patch

DOCKERS = {"ServerVersion": "28.2.2", "CgroupVersion": "2", "MemoryLimit": True, "PidsLimit": True, "CpuCfsQuota": True}
PODMANS = {
    "host": {"cgroupVersion": "v1", "cgroupControllers": ["cpu", "memory", "pids"]},
    "version": {"Version": "4.3.1"},
}
SMALL = Limits(memory_mb=256, processes=40, cpus=1.0)


class Program:
    """A program on the disk that answers as an engine does, and writes down what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "docker"
        self.asked = folder / "asked"

    def answers(self, told: object, otherwise: str = "exit 1") -> str:
        """Its path."""
        cases = f"info) echo '{json.dumps(told)}' ;; *) {otherwise} ;;"
        self.path.write_text(f'#!/bin/sh\necho "$@" >> {self.asked}\ncase $1 in {cases} esac\n')
        self.path.chmod(0o755)
        return str(self.path)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Program]:
    made = Program(tmp_path)
    monkeypatch.setenv(VARIABLE, str(made.path))
    engines._engine.cache_clear()
    yield made
    engines._engine.cache_clear()


@pytest.mark.parametrize(("told", "groups"), [(DOCKERS, "2"), (PODMANS, "1")], ids=["docker", "podman"])
def test_what_an_engine_can_limit_is_read_from_its_own_words(program: Program, told: object, groups: str) -> None:
    program.answers(told)
    controls = engine().controls
    assert (controls.groups, controls.missing) == (groups, [])
    limited = ["--memory", "256m", "--memory-swap", "256m", "--pids-limit", "40", "--cpus", "1.0"]
    assert controls.flags(SMALL) == limited


def test_limits_that_can_not_be_held_are_told(caplog: pytest.LogCaptureFixture, program: Program) -> None:
    program.answers({"ServerVersion": "1", "MemoryLimit": True})
    with caplog.at_level(logging.WARNING):
        controls = engine().controls
    assert controls.missing == ["number of processes", "CPU time"]
    assert controls.flags(SMALL) == ["--memory", "256m", "--memory-swap", "256m"]
    assert "enforces no limit of number of processes, CPU time" in caplog.text
    found = {check.name: check for check in checks()}["containers"]
    assert "no control groups: no limit of number of processes, CPU time" in found.found
    assert "control groups v2" in found.cure


def test_no_engine_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "no-such-engine")
    with pytest.raises(UserError, match="install Docker, or podman and set ROLLIN_DOCKER=podman"):
        engine()
    found = {check.name: check for check in checks()}["containers"]
    assert found.ok, "it is optional"
    assert "no-such-engine" in found.found


def test_a_daemon_that_is_down_is_a_sentence(program: Program) -> None:
    program.answers({"ServerErrors": ["Cannot connect to the Docker daemon"]})
    with pytest.raises(UserError, match=r"does not answer \(Cannot connect to the Docker daemon\): start its daemon"):
        engine()


def test_an_image_that_can_not_be_had_is_pulled_once(program: Program, tmp_path: Path) -> None:
    program.answers(DOCKERS, 'echo "Error: no such image" >&2; exit 1')
    task = make_task().model_copy(update={"pristine": "", "image": "nobody/nothing:1", "instance_id": "a__b-1"})
    for _ in range(3):
        with pytest.raises(ImageUnavailable, match="a__b-1: the image nobody/nothing:1 can't be had: Error: no such"):
            open_workspace(task, tmp_path)
    assert program.asked.read_text().splitlines().count("pull nobody/nothing:1") == 1


def test_a_container_is_started_without_network_and_rights(program: Program) -> None:
    program.answers(DOCKERS, "exit 0")
    with pytest.raises(InfrastructureFault, match="the container ended"):
        DockerSandbox("an-image:1", "c0ffee", SMALL)
    started = next(line for line in program.asked.read_text().splitlines() if line.startswith("run "))
    for words in (
        *("--rm", "--network none", "--cap-drop ALL", "--security-opt no-new-privileges", "--pull never"),
        *("--memory 256m", "--memory-swap 256m", "--pids-limit 40", "--cpus 1.0", "--tmpfs /tmp:"),
    ):
        assert words in started
    assert "--privileged" not in started
    assert "--volume" not in started


CONTAINER = """
case $1 in
    run) while read -r word; do echo "$word"; done ;;
    exec) if [ -e {changed} ]; then {does}; else echo started; fi ;;
esac
"""
"""Stands in for an engine and its container: PID 1 that answers, and commands that begin until bash was changed."""


@pytest.mark.parametrize(
    ("does", "told"),
    [
        ("echo nonsense", ("cannot start bash: nonsense\n", 126)),
        ("exit 1", ("cannot start bash: \n", 1)),
        ("echo 'Error: no bash in PATH'; exit 127", ("cannot start bash: Error: no bash in PATH\n", 127)),
    ],
)
def test_another_bash_in_its_place_fails_its_own_container(
    program: Program, tmp_path: Path, does: str, told: tuple[str, int]
) -> None:
    changed = tmp_path / "changed"
    program.answers(DOCKERS, CONTAINER.format(changed=changed, does=does))
    with DockerSandbox("an-image:1", "c0ffee", SMALL) as sandbox:
        assert sandbox.run("true").returncode == 0
        changed.touch()
        result = sandbox.run("true")
        assert (result.output, result.returncode) == told
        assert extract_patch(sandbox) == ""


def test_an_engine_that_fails_a_command_is_a_fault(program: Program, tmp_path: Path) -> None:
    says = "echo 'Error response from daemon: the container is paused'; exit 1"
    program.answers(DOCKERS, CONTAINER.format(changed=tmp_path / "changed", does=says))
    with DockerSandbox("an-image:1", "c0ffee", SMALL) as sandbox:
        (tmp_path / "changed").touch()
        with pytest.raises(InfrastructureFault, match="the container is paused"):
            sandbox.run("true")


def test_an_engine_may_be_several_words(program: Program) -> None:
    assert Engine(["env", program.answers(DOCKERS)]).controls.version == "28.2.2"


def test_a_task_without_its_image_is_skipped_and_counted_as_no_ones_failure(program: Program, tmp_path: Path) -> None:
    program.answers(DOCKERS, 'echo "Error: no such image" >&2; exit 1')
    task = make_task().model_copy(update={"image": "nobody/nothing:1"})
    cast = Cast("student", Student(), {Actor.STUDENT: ScriptedPolicy("student", lambda request: "")})
    with Store.create(tmp_path / "run.db", {}) as store, Gateway(store) as gateway:
        store.add_tasks([task])
        harness = MiniSweAgent(MiniSweAgentSettings())
        rollouts = Rollouts(store, gateway, harness, cache_dir=tmp_path, limits=SMALL, concurrency=1, seed=0)
        (row,) = rollouts.run([Attempt(task, 1, Purpose.EVAL)], cast, lambda row: None)
    assert row.exit is Exit.INFRASTRUCTURE_FAULT
    assert (Rate.of([row]).n, Rate.of([row]).faults) == (0, 1)
    assert program.asked.read_text().splitlines().count("image inspect nobody/nothing:1") == 1, "tried again"
