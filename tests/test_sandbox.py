"""The walls of a bubblewrap sandbox, tried from inside."""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rollin.errors import InfrastructureFault, UserError
from rollin.sandboxes import bubblewrap
from rollin.sandboxes.base import Limits
from rollin.sandboxes.bubblewrap import BubblewrapSandbox
from rollin.sandboxes.seccomp import seccomp_filter
from rollin.sandboxes.surroundings import VARIABLES, of_rollin
from rollin.sandboxes.walls import steady
from rollin.tasks.repository import build_repository

SMALL = Limits(seconds=5, memory_mb=256, processes=40, output_kb=8, disk_mb=32)

PID_1 = os.path.basename(os.path.realpath(sys.executable))
FORK_UNTIL_REFUSED = b"""
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


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = {
        "module.py": b"VALUE = 1\n",
        "test_module.py": b"import module\n\n\ndef test_value():\n    assert module.VALUE\n",
    }
    return build_repository(files, [], tmp_path_factory.mktemp("cache"))[0]


@pytest.fixture
def sandbox(template: Path) -> Iterator[BubblewrapSandbox]:
    with BubblewrapSandbox(template, SMALL) as made:
        yield made


def digest(folder: Path) -> str:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(str(path).encode() + path.read_bytes() for path in paths)).hexdigest()


def test_it_looks_like_an_ordinary_repository_on_main(sandbox: BubblewrapSandbox) -> None:
    assert sandbox.run("git status --short --branch").output == "## main\n"
    assert sandbox.run("git remote; git stash list; git branch").output == "* main\n"
    assert sandbox.run("pwd").output == "/repo\n"
    assert sandbox.run("git fsck --strict").returncode == 0


@pytest.mark.parametrize("tool", ["bash", "git", "sed", "grep", "find", "awk", "python", "pytest", "diff", "xargs"])
def test_the_usual_tools_are_there(sandbox: BubblewrapSandbox, tool: str) -> None:
    assert sandbox.run(f"command -v {tool}").returncode == 0


def test_pytest_runs_on_the_work_copy(sandbox: BubblewrapSandbox) -> None:
    assert "1 passed" in sandbox.run("python -m pytest").output
    assert sandbox.run("git status --short").output == ""


def test_commits_made_inside_have_the_same_ids_in_every_run(template: Path) -> None:
    def head() -> str:
        with BubblewrapSandbox(template, SMALL) as made:
            return made.run("echo x > x && git add x && git commit --quiet -m x && git rev-parse HEAD").output

    assert len(head()) == 41
    assert head() == head()


def test_sets_have_the_same_order_in_every_run(template: Path) -> None:
    """Of what Python hashes by its address, too: tests made of a set would be called something else each time."""
    if not steady():
        pytest.skip("this machine doesn't let addresses be the same")
    printed = set[str]()
    for _ in range(3):
        with BubblewrapSandbox(template, SMALL) as sandbox:
            for _ in range(2):
                printed.add(sandbox.run("python -c 'print(hash(None), {None, int, len, 1, \"a\"})'").output)
    assert len(printed) == 1


def test_neither_the_internet_nor_the_hosts_loopback_is_reachable(sandbox: BubblewrapSandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        connect = "import socket; socket.create_connection(('{}', {}), timeout=2)"
        for address, number in (("127.0.0.1", port), ("1.1.1.1", 53)):
            assert sandbox.run(f'python -c "{connect.format(address, number)}"').returncode == 1


def test_the_hosts_files_are_invisible(sandbox: BubblewrapSandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    secret.chmod(0o644)
    for path in (
        secret,
        Path.home() / ".bashrc",
        Path("/home"),
        Path("/etc/shadow"),
        Path("/etc/hostname"),
        Path("/srv"),
    ):
        assert sandbox.run(f"ls {path}").returncode == 2, path
    assert set(sandbox.run("ls /var /var/lib").output.split()) == {"/var:", "/var/lib:", "lib", "repo.git"}


def test_the_katas_solutions_are_invisible(sandbox: BubblewrapSandbox) -> None:
    assert sandbox.run("python -c 'import rollin.tasks.schema'").returncode == 1
    assert sandbox.run(f"find {sys.prefix} {sys.base_prefix} -maxdepth 6 -type d -name katas").output == ""


def test_a_hidden_package_can_not_be_imported(template: Path) -> None:
    import yaml

    folder = Path(yaml.__file__).parent
    with BubblewrapSandbox(template, SMALL, around=of_rollin([folder])) as made:
        assert made.run(f"ls {folder}").output == ""


def test_no_environment_variable_of_the_host_leaks(template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    with BubblewrapSandbox(template, SMALL, env={"EXTRA": "1"}) as made:
        names = {line.split("=")[0] for line in made.run("env").output.splitlines()}
    assert names == {*VARIABLES, "EXTRA", "PATH", "PWD", "SHLVL", "_"}


def test_the_system_is_read_only(sandbox: BubblewrapSandbox) -> None:
    for path in ("/x", "/usr/x", "/etc/x", "/dev/x", "/run/x", "/var/lib/repo.git/x", f"{sys.prefix}/x"):
        assert sandbox.run(f"touch {path}").returncode == 1, path


def test_commands_run_without_privileges(sandbox: BubblewrapSandbox) -> None:
    assert sandbox.run("id --user").output != "0\n"
    assert "CapEff:\t0000000000000000" in sandbox.run("cat /proc/self/status").output
    for command in (
        "mount -t tmpfs x /tmp",
        "unshare --user --map-root-user true",
        "chroot / true",
        "cat /proc/1/environ",
    ):
        assert sandbox.run(command).returncode != 0, command


def test_a_command_that_takes_too_long_is_stopped(sandbox: BubblewrapSandbox) -> None:
    result = sandbox.run("echo before; trap '' TERM INT; sleep 60", seconds=0.5)
    assert (result.output, result.returncode, result.timed_out, result.killed) == ("before\n", 124, True, False)
    assert result.seconds < 3
    assert sandbox.run("echo after").output == "after\n"


def test_124_by_the_command_itself_is_not_a_timeout(sandbox: BubblewrapSandbox) -> None:
    result = sandbox.run("exit 124")
    assert (result.returncode, result.timed_out) == (124, False)


def test_a_memory_bomb_fails_alone(sandbox: BubblewrapSandbox) -> None:
    assert "MemoryError" in sandbox.run("python -c 'bytearray(1 << 30)'").output
    assert sandbox.run("echo alive").output == "alive\n"


def test_processes_that_only_together_use_too_much_memory_are_killed(sandbox: BubblewrapSandbox) -> None:
    one = "python -c 'x = b\"x\" * (150 << 20); import time; time.sleep(30)'"
    result = sandbox.run(" & ".join([one] * 3) + " & wait", seconds=20)
    assert (result.returncode, result.killed) == (137, True)
    assert "together used more than 256 MB" in result.output


@pytest.mark.parametrize("command", ["printf '[killed: it had more than 4 processes]\n'; exit 137", "kill -9 $$"])
def test_a_command_that_only_says_so_was_not_killed(sandbox: BubblewrapSandbox, command: str) -> None:
    result = sandbox.run(command)
    assert (result.returncode, result.killed, result.timed_out) == (137, False, False)


def test_a_fork_bomb_is_contained(sandbox: BubblewrapSandbox) -> None:
    sandbox.write("fork.py", FORK_UNTIL_REFUSED)
    assert int(sandbox.run("python fork.py").output) <= SMALL.processes
    sandbox.run(":(){ :|:& };:; sleep 0.3", seconds=1)
    assert sandbox.run("echo alive; ls /proc | grep -c '^[0-9]'").output.startswith("alive\n")
    assert sandbox.run("ps -e --no-headers | wc -l").output.strip() in {"3", "4"}


def test_many_short_lived_orphans_do_not_use_up_the_processes(sandbox: BubblewrapSandbox) -> None:
    assert sandbox.run("for i in $(seq 100); do (sleep 0.001 &); sleep 0.005; done; echo ok").output == "ok\n"


@pytest.mark.parametrize("place", ["/repo", "/tmp", "/dev/shm"])
def test_a_disk_filler_is_stopped(sandbox: BubblewrapSandbox, place: str) -> None:
    result = sandbox.run(
        f"for i in 1 2 3 4; do head -c 20000000 /dev/zero > {place}/filler$i; done; du -cm {place}/filler* | tail -1"
    )
    assert "No space left" in result.output
    assert int(result.output.split()[-2]) <= SMALL.disk_mb


def test_endless_output_keeps_head_and_tail(sandbox: BubblewrapSandbox) -> None:
    result = sandbox.run("echo first; yes | head -c 10000000; echo last")
    assert result.truncated
    assert result.output.startswith("first\n")
    assert result.output.endswith("last\n")
    assert "bytes of output dropped" in result.output
    assert len(result.output) < (SMALL.output_kb << 10) + 100
    assert sandbox.run("yes", seconds=0.5).timed_out


def test_a_daemon_neither_outlives_nor_hangs_its_command(sandbox: BubblewrapSandbox) -> None:
    result = sandbox.run("(setsid sh -c 'while true; do echo noise; sleep 0.01; done' &) ; echo done", seconds=4)
    assert "done\n" in result.output
    assert result.seconds < 2
    assert sorted(sandbox.run("ps -e --no-headers -o comm; true").output.split()) == sorted(["bash", "ps", PID_1])


def test_the_commands_stdin_is_empty(sandbox: BubblewrapSandbox) -> None:
    assert sandbox.run("cat; read -r line; echo $?").output == "1\n"


@pytest.mark.parametrize(
    "attack", ["kill -9 1", "kill -INT 1", "kill -9 -1", "kill -STOP 1", "kill -9 $$", "echo x > /proc/1/fd/1"]
)
def test_pid_1_can_not_be_ended_from_inside(sandbox: BubblewrapSandbox, attack: str) -> None:
    sandbox.run(attack)
    assert sandbox.run("echo alive").output == "alive\n"


def test_binary_and_unicode_output_come_back(sandbox: BubblewrapSandbox) -> None:
    assert sandbox.run("printf 'é\\xff\\0語'").output == "é\ufffd\0語"
    assert sandbox.run("echo 'größe 語'").output == "größe 語\n"


def test_write_puts_any_bytes_anywhere_in_the_repository(sandbox: BubblewrapSandbox) -> None:
    content = bytes(range(256)) * 1000
    sandbox.write("new folder/it's.bin", content)
    expected = hashlib.sha256(content).hexdigest()
    assert sandbox.run('sha256sum < "new folder/it\'s.bin"').output.split()[0] == expected
    with pytest.raises(InfrastructureFault, match="cannot write"):
        sandbox.write("module.py/x", b"")


def test_the_template_survives_abuse(template: Path) -> None:
    before = digest(template)
    with BubblewrapSandbox(template, SMALL) as made:
        made.run(
            "git gc --prune=now; git repack -ad; rm -rf .git/objects; rm -rf /var/lib/repo.git; git checkout --orphan x"
        )
        made.run("chmod -R 777 /var/lib/repo.git; echo x >> /var/lib/repo.git/HEAD; rm -rf .git")
    assert digest(template) == before


def test_eight_threads_each_have_their_own(template: Path) -> None:
    def attempt(number: int) -> str:
        with BubblewrapSandbox(template, SMALL) as made:
            made.write("mine", str(number).encode())
            made.run("python -c 'import time; time.sleep(0.1)'")
            return made.run("cat mine; ps -e --no-headers | wc -l").output

    with ThreadPoolExecutor(8) as pool:
        outputs = list(pool.map(attempt, range(16)))
    assert outputs == [f"{number}4\n" for number in range(16)]


def test_it_outlives_the_thread_that_made_it(template: Path) -> None:
    made: list[BubblewrapSandbox] = []
    thread = threading.Thread(target=lambda: made.append(BubblewrapSandbox(template, SMALL)))
    thread.start()
    thread.join()
    assert made[0].run("echo alive").output == "alive\n"
    made[0].close()


def test_close_ends_a_running_command_and_may_come_twice(template: Path) -> None:
    made = BubblewrapSandbox(template, SMALL)
    threading.Timer(0.3, made.close).start()
    started = time.monotonic()
    with pytest.raises(InfrastructureFault, match="ended by itself"):
        made.run("sleep 60", seconds=50)
    assert time.monotonic() - started < 5
    made.close()
    with pytest.raises(InfrastructureFault, match="closed"):
        made.run("true")


def test_a_sandbox_killed_from_outside_is_a_fault_not_a_result(template: Path) -> None:
    made = BubblewrapSandbox(template, SMALL)
    os.killpg(made._process.pid, 9)
    with pytest.raises(InfrastructureFault, match="killed from outside"):
        made.run("true")


def test_nothing_stays_behind_when_the_host_process_dies(template: Path) -> None:
    script = (
        "import os, sys, pathlib, threading\n"
        "from rollin.sandboxes.bubblewrap import BubblewrapSandbox\n"
        "made = BubblewrapSandbox(pathlib.Path(sys.argv[1]))\n"
        "threading.Thread(target=made.run, args=('sleep 300',), kwargs={'seconds': 300}).start()\n"
        "print(made._process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(template)], capture_output=True, text=True)
    group = int(done.stdout)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _alive(group):
        time.sleep(0.05)
    assert not _alive(group)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_without_bubblewrap_the_cure_is_named(template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bubblewrap.check.cache_clear()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="apt-get install -y bubblewrap"):
        BubblewrapSandbox(template)


def test_without_namespaces_the_cure_is_named(template: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bubblewrap.check.cache_clear()
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(UserError, match=r"No permissions to create new namespace.*sysctl"):
        BubblewrapSandbox(template)


def test_a_missing_template_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureFault, match="nowhere"):
        BubblewrapSandbox(tmp_path / "nowhere.git")


def test_it_works_in_a_user_namespace_as_for_an_ordinary_user(template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bubblewrap, "check", lambda: True)
    with BubblewrapSandbox(template, SMALL) as made:
        assert made.run("id --user; git status --short").output == "1000\n"
        assert "1 passed" in made.run("python -m pytest").output
        assert made.run("kill -9 1; cat /proc/1/environ; echo x > /proc/1/mem; touch /dev/x /x").returncode == 1
        sets = "import resource; resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0))"
        assert "PermissionError" in made.run(f"kill -INT 1; python -c '{sets}'").output
        assert made.run("ulimit -n 99; ulimit -n; touch /usr/bin/x; echo alive").output.startswith("99\n")
        assert made.run("touch /usr/bin/x; echo alive").output.endswith("alive\n")


def test_an_unknown_architecture_has_no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert seccomp_filter() is None
