"""A container's walls, tried from inside, and published tasks graded in it. Skipped where no container engine works."""

import difflib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from container_room import BUGGY, FIXED, NEW_TESTS, OLD_TESTS, Made, build, found_engine
from scripted import ScriptedPolicy

from rollin.errors import ImageUnavailable, InfrastructureFault, Unavailable, UserError
from rollin.gateway import Gateway
from rollin.harnesses.mini_swe_agent import MiniSweAgent, MiniSweAgentSettings
from rollin.mixture import Actor, Student
from rollin.rollout import Attempt, Cast, Rollouts
from rollin.sandboxes.base import Limits
from rollin.sandboxes.docker import LABEL, DockerSandbox
from rollin.sandboxes.engine import Engine
from rollin.sandboxes.workspace import open_workspace
from rollin.store import Exit, Purpose, Store
from rollin.tasks.extraction import extract_patch
from rollin.tasks.grading import grade
from rollin.tasks.schema import Task

FOUND = found_engine()
pytestmark = pytest.mark.skipif(isinstance(FOUND, str), reason=f"no container engine works here: {FOUND}")

SMALL = Limits(seconds=60, memory_mb=256, processes=40, output_kb=8, disk_mb=32)
FORKS = """
import os, time
forks = 0
try:
    while True:
        if not os.fork():
            time.sleep(9)
        forks += 1
except OSError:
    print(forks)
"""
SCRIPT = """#!/bin/bash
set -uxo pipefail
git checkout BASE test_roman.py
git apply -v - <<'EOF_114329324912'
TEST_PATCH
EOF_114329324912
: '>>>>> Start Test Output'
python -m pytest -rA test_roman.py
: '>>>>> End Test Output'
git checkout BASE test_roman.py
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    assert isinstance(FOUND, Engine)
    yield build(FOUND, tmp_path_factory.mktemp("image"), f"rollin-test:{os.getpid()}")
    FOUND.call("rmi", "--force", f"rollin-test:{os.getpid()}")


@pytest.fixture(scope="module")
def shared(made: Made) -> Iterator[DockerSandbox]:
    """For tests that leave it as it was: a container takes a second or two."""
    with DockerSandbox(made.image, made.base, SMALL) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(made: Made) -> Iterator[DockerSandbox]:
    with DockerSandbox(made.image, made.base, SMALL) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def task(made: Made) -> Task:
    return Task(
        instance_id="ada__roman-1",
        repo="ada/roman",
        base_commit=made.base,
        problem_statement="double(2) gives 6",
        patch=difference("roman.py", BUGGY, FIXED),
        test_patch=difference("test_roman.py", OLD_TESTS, NEW_TESTS),
        FAIL_TO_PASS=["test_roman.py::test_double"],
        PASS_TO_PASS=["test_roman.py::test_zero"],
        image=made.image,
    )


def difference(path: str, old: str, new: str) -> str:
    """A patch as git writes it."""
    lines = difflib.unified_diff(old.splitlines(True), new.splitlines(True), f"a/{path}", f"b/{path}")
    return f"diff --git a/{path} b/{path}\n" + "".join(lines)


def containers() -> list[str]:
    """Those that are there, of this process."""
    assert isinstance(FOUND, Engine)
    return FOUND.call("ps", "--all", "--quiet", "--filter", f"label={LABEL}={os.getpid()}").stdout.split()


# The repository


def test_it_looks_like_an_ordinary_repository_on_main(shared: DockerSandbox) -> None:
    assert shared.run("git status --short --branch").output == "## main\n"
    assert shared.run("git remote; git stash list; git branch --all").output == "* main\n"
    assert shared.run("pwd").output == "/testbed\n"
    assert shared.run("git fsck --strict").returncode == 0


def test_what_came_before_is_there(shared: DockerSandbox, made: Made) -> None:
    assert shared.run("git rev-parse HEAD").output.strip() == made.base
    assert shared.run("git log --format=%s").output == "Break double\nImport\n"
    assert shared.run("git tag").output == "v1.0\n"


def test_nothing_of_what_came_later_is_reachable_in_any_way(shared: DockerSandbox, made: Made) -> None:
    assert shared.run(f"git cat-file -e {made.future}").returncode != 0
    assert shared.run("git reflog --format=%h | wc -l").output == "1\n"
    blobs = "git cat-file --batch-all-objects --batch | grep -c 'test_double' || true"
    assert shared.run(blobs).output == "0\n", "an object holds the test that came with the repair"


def test_pytest_runs_there(shared: DockerSandbox) -> None:
    assert "1 passed" in shared.run("python -m pytest -rA").output


@pytest.mark.parametrize("named", ["{base}", "HEAD", "{future}^"])
def test_what_the_image_changed_is_kept_and_is_no_part_of_a_patch(made: Made, named: str) -> None:
    """By whatever name a data set calls the commit at which the image is."""
    assert isinstance(FOUND, Engine)
    name, image = f"rollin-env-{os.getpid()}", f"rollin-env:{os.getpid()}"
    change = f"cd /testbed; git checkout -qf {made.base}; echo '[pytest]' > pytest.ini; echo '# pinned' >> roman.py"
    run = FOUND.call("run", "--name", name, "--network", "none", "--entrypoint", "/bin/bash", made.image, "-c", change)
    assert run.returncode == 0, run.stderr
    try:
        assert FOUND.call("commit", name, image).returncode == 0
        with DockerSandbox(image, named.format(base=made.base, future=made.future), SMALL) as sandbox:
            assert "# pinned" in sandbox.run("cat roman.py pytest.ini").output
            assert sandbox.run("git status --short").output == ""
            assert extract_patch(sandbox) == ""
            sandbox.run("echo 'more = 1' >> roman.py")
            assert extract_patch(sandbox).count("\n+") == 2  # the header's, and the line
    finally:
        FOUND.call("rm", "--force", name)
        FOUND.call("rmi", "--force", image)


def test_a_setup_patch_is_the_agents_start_and_leaves_no_history(made: Made, task: Task) -> None:
    with DockerSandbox(made.image, made.base, SMALL, setup_patch=task.patch) as sandbox:
        assert sandbox.run("cat roman.py").output == FIXED
        assert sandbox.run("git log --format=%s").output == "Initial import\n"
        assert extract_patch(sandbox) == ""


def test_a_patch_is_had_even_without_the_agents_repository(sandbox: DockerSandbox) -> None:
    sandbox.write("roman.py", FIXED.encode())
    sandbox.run("rm -rf .git")
    assert "+    return number * 2" in extract_patch(sandbox)


# The walls


def test_there_is_no_network(shared: DockerSandbox) -> None:
    assert shared.run("cat /proc/net/dev | tail -n +3 | cut -d: -f1 | tr -d ' '").output == "lo\n"


def test_commands_have_few_privileges(shared: DockerSandbox) -> None:
    status = shared.run("cat /proc/self/status").output
    assert "NoNewPrivs:\t1" in status
    assert "CapEff:\t000000000000000b" in status
    assert "CapBnd:\t000000000000000b" in status
    assert "Seccomp:\t2" in status
    assert shared.run("mount -t tmpfs none /mnt; python -c 'import os; os.setuid(1)'").returncode != 0


def test_a_command_that_takes_too_long_is_stopped(shared: DockerSandbox) -> None:
    result = shared.run("echo begun; trap '' TERM; sleep 60", seconds=1.0)
    assert (result.output, result.returncode, result.timed_out) == ("begun\n", 124, True)
    assert shared.run("echo well").output == "well\n"


def test_124_by_the_command_itself_is_not_a_timeout(shared: DockerSandbox) -> None:
    result = shared.run("exit 124")
    assert (result.returncode, result.timed_out) == (124, False)


def test_a_memory_bomb_fails_alone(shared: DockerSandbox) -> None:
    assert shared.run("python -c \"b = b'x' * (1 << 30)\"", seconds=30.0).returncode != 0
    assert shared.run("echo well").output == "well\n"


def test_a_fork_bomb_is_contained_and_ended(shared: DockerSandbox) -> None:
    shared.write(".git/forks.py", FORKS.encode())
    result = shared.run("python .git/forks.py")
    assert 0 < int(result.output.split()[-1]) < 40
    assert shared.run(":(){ :|:& };:", seconds=2.0) is not None
    assert shared.run("ls -d /proc/[0-9]* | wc -l").output.strip() in ("3", "4", "5", "6")


def test_a_disk_filler_is_stopped(shared: DockerSandbox) -> None:
    assert shared.run("head -c 64M /dev/zero > /tmp/big; stat -c %s /tmp/big 2>/dev/null; rm /tmp/big").returncode == 0
    assert shared.run("head -c 64M /dev/zero > big").returncode != 0
    assert int(shared.run("wc -c < big; rm big").output) <= 32 << 20


def test_endless_output_keeps_head_and_tail(shared: DockerSandbox) -> None:
    result = shared.run("echo first; seq 1000000; echo last")
    assert result.truncated
    assert result.output.startswith("first\n1\n")
    assert result.output.endswith("1000000\nlast\n")
    assert len(result.output) < 10_000


@pytest.mark.parametrize("daemon", ["sleep 60 &", "nohup setsid sleep 60 > /dev/null 2>&1 &", "(setsid sleep 60 &);"])
def test_a_daemon_neither_outlives_nor_hangs_its_command(shared: DockerSandbox, daemon: str) -> None:
    started = time.monotonic()
    assert shared.run(f"{daemon} echo begun").output == "begun\n"
    assert time.monotonic() - started < 30
    assert "sleep" not in shared.run("cat /proc/[0-9]*/comm").output


def test_the_commands_stdin_is_empty(shared: DockerSandbox) -> None:
    assert shared.run("cat; echo end").output == "end\n"


def test_output_comes_in_its_order_and_whatever_it_is(shared: DockerSandbox) -> None:
    assert shared.run("echo out; echo err >&2; printf 'caf\\303\\251 \\377'").output == "out\nerr\ncafé \ufffd"


@pytest.mark.parametrize(
    "attack", ["kill -9 1", "kill -TERM 1; kill -HUP 1", "kill -STOP 1", "kill -9 $PPID", "kill -9 -1"]
)
def test_the_container_can_not_be_ended_by_signals(shared: DockerSandbox, attack: str) -> None:
    shared.run(attack)
    assert shared.run("echo well").output == "well\n"


def test_an_agent_that_takes_bash_away_fails_by_itself(sandbox: DockerSandbox) -> None:
    sandbox.run("rm -f /bin/bash /usr/bin/bash")
    result = sandbox.run("echo well")
    assert result.returncode in (126, 127)
    assert "bash" in result.output
    assert extract_patch(sandbox) == ""


def test_write_puts_any_bytes_anywhere_in_the_repository(shared: DockerSandbox) -> None:
    content = bytes(range(256)) * 2000
    shared.write("new folder/it's.bin", content)
    assert int(shared.run("wc -c < \"new folder/it's.bin\"; rm -r 'new folder'").output) == len(content)


def test_a_command_longer_than_the_system_takes_is_the_agents_doing(shared: DockerSandbox) -> None:
    assert shared.run(f"echo {'x' * 200_000}").returncode == 126


# Its life


def test_a_closed_sandbox_leaves_no_container_and_refuses(made: Made) -> None:
    before = containers()
    sandbox = DockerSandbox(made.image, made.base, SMALL)
    assert len(containers()) == len(before) + 1
    sandbox.close()
    sandbox.close()
    assert containers() == before
    with pytest.raises(InfrastructureFault, match="closed"):
        sandbox.run("true")


def test_the_container_goes_when_its_process_is_killed(made: Made) -> None:
    program = (
        "import sys, time\nfrom rollin.sandboxes.docker import DockerSandbox\n"
        "made = DockerSandbox(*sys.argv[1:])\nprint(made._name, flush=True)\ntime.sleep(99)\n"
    )
    words = [sys.executable, "-c", program, made.image, made.base]
    assert isinstance(FOUND, Engine)
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert name in FOUND.call("ps", "--format", "{{.Names}}").stdout
        process.kill()
    deadline = time.monotonic() + 20
    while name in FOUND.call("ps", "--all", "--format", "{{.Names}}").stdout:
        assert time.monotonic() < deadline, "the container is still there"
        time.sleep(0.2)


def test_a_container_that_was_removed_is_a_fault(made: Made) -> None:
    assert isinstance(FOUND, Engine)
    sandbox = DockerSandbox(made.image, made.base, SMALL)
    FOUND.call("rm", "--force", sandbox._name)
    with pytest.raises(InfrastructureFault):
        sandbox.run("true")
    sandbox.close()


def test_an_image_that_can_not_be_had_is_pulled_once_and_named(task: Task, tmp_path: Path) -> None:
    away = task.model_copy(update={"image": "localhost:1/nobody/nothing:1"})
    for _ in range(2):
        with pytest.raises(ImageUnavailable, match="ada__roman-1: the image localhost:1/nobody/nothing:1 can't be had"):
            open_workspace(away, tmp_path, SMALL)


def test_an_image_of_another_task_is_said_so(task: Task, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"ada__roman-1: the image .* holds no commit 0123456789ab"):
        open_workspace(task.model_copy(update={"base_commit": "0123456789ab" + "0" * 28}), tmp_path, SMALL)


def test_a_harness_inside_is_refused_in_a_sentence(task: Task, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no way to the gateway.*mini_swe_agent"):
        open_workspace(task, tmp_path, SMALL, shown={"/agent": tmp_path})


# Grading


def scripted(task: Task) -> Task:
    """As a row of SWE-bench has it."""
    script = SCRIPT.replace("BASE", task.base_commit).replace("TEST_PATCH", task.test_patch.rstrip("\n"))
    return task.model_copy(update={"eval_script": script, "log_parser": "parse_log_pytest"})


@pytest.mark.parametrize("form", [scripted, lambda task: task], ids=["its own script", "a test command"])
def test_the_reference_resolves_and_nothing_else_does(task: Task, tmp_path: Path, form: object) -> None:
    assert callable(form)
    shaped: Task = form(task)
    good = grade(shaped, task.patch, tmp_path)
    assert good.resolved, good.log
    assert good.tests == {"test_roman.py::test_double": "PASSED", "test_roman.py::test_zero": "PASSED"}
    bad = grade(shaped, "", tmp_path)
    assert not bad.resolved
    assert bad.report["FAIL_TO_PASS"]["failure"] == ["test_roman.py::test_double"]
    assert bad.report["PASS_TO_PASS"]["success"] == ["test_roman.py::test_zero"]


def test_a_patch_to_the_tests_does_not_help(task: Task, tmp_path: Path) -> None:
    with open_workspace(task, tmp_path, SMALL) as sandbox:
        sandbox.write("test_roman.py", b"def test_zero(): pass\n\n\ndef test_double(): pass\n")
        cheat = extract_patch(sandbox)
    assert not grade(task, cheat, tmp_path).resolved


def test_what_is_wrong_is_named_in_the_log(task: Task, tmp_path: Path) -> None:
    malformed = grade(task, "--- a\n+++ b\nnonsense", tmp_path)
    assert not malformed.patch_applied
    assert malformed.log.startswith("ada__roman-1: the patch does not apply")
    unknown = task.model_copy(update={"PASS_TO_PASS": ["test_roman.py::test_nowhere"]})
    lost = grade(unknown, task.patch, tmp_path)
    assert not lost.resolved
    assert "ada__roman-1: 1 of its tests did not run: test_roman.py::test_nowhere" in lost.log
    broken = grade(task.model_copy(update={"test_command": "echo nothing"}), task.patch, tmp_path)
    assert not broken.resolved
    assert "ada__roman-1: no report of its tests could be read" in broken.log


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"log_parser": "parse_log_x"}, "ada__roman-1: the installed swebench has no log_parser 'parse_log_x'"),
        ({"test_patch": "", "FAIL_TO_PASS": ["test_a (web.T)"], "PASS_TO_PASS": []}, "ada__roman-1 says nowhere"),
    ],
)
def test_what_can_not_be_graded_is_said_so(
    task: Task, tmp_path: Path, changed: dict[str, object], complaint: str
) -> None:
    with pytest.raises(Unavailable, match=complaint):
        grade(task.model_copy(update=changed), task.patch, tmp_path)


def test_an_agent_works_in_a_container_and_its_patch_is_graded_in_another(task: Task, tmp_path: Path) -> None:
    commands = [
        "python -m pytest -q",
        "sed -i 's/number [*] 3/number * 2/' roman.py",
        "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT",
    ]
    policy = ScriptedPolicy("student", lambda request: f"```bash\n{commands[request.turn]}\n```")
    with Store.create(tmp_path / "run.db", {}) as store, Gateway(store) as gateway:
        store.add_tasks([task])
        harness = MiniSweAgent(MiniSweAgentSettings())
        rollouts = Rollouts(store, gateway, harness, cache_dir=tmp_path, limits=SMALL, concurrency=1, seed=0)
        cast = Cast("student", Student(), {Actor.STUDENT: policy})
        (row,) = rollouts.run([Attempt(task, 1, Purpose.EVAL)], cast, lambda row: None)
    assert (row.exit, row.resolved) == (Exit.SUBMITTED, True)
    assert policy.requests[1].messages[-1]["content"].startswith("."), "its tests did not run"
    assert row.patch is not None
    assert row.patch.count("\n+") == 2
