"""A sandbox that is a container: for published tasks, whose image holds the repository, installed, in /testbed.

Enforced: own PID, network (none but its own loopback), IPC and UTS namespaces; no capability but those to own and
read files; no new privileges; the engine's filter of system calls; a wall-clock limit for each command; the size of
/tmp, /dev/shm and of each file; what a command prints; and, where the engine has control groups, memory, processes and
CPU of the whole container. No process outlives its command, and no container its sandbox.
Not enforced: what the container's files hold in all; shares of disk bandwidth. Commands run as the container's root,
as SWE-bench's do: an agent can ruin its own container, which then fails its own trajectory.

The container's PID 1 is a loop that reads from us: a word, and it ends all other processes and answers; the end of its
input, which comes when this process dies in whatever way, and it exits, which removes the container.
"""

import contextlib
import os
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import nullcontext
from types import MappingProxyType

from rollin.errors import InfrastructureFault, Unavailable
from rollin.sandboxes import testbed
from rollin.sandboxes.base import CommandResult, Limits, Sandbox, as_bytes, seated, writing
from rollin.sandboxes.engine import ANSWER_SECONDS, Engine, engine
from rollin.sandboxes.init import TIMED_OUT
from rollin.sandboxes.streams import Announced, Answers, pour
from rollin.sandboxes.surroundings import PUBLISHED

LABEL = "rollin"
"""Every container has it; its value is the process that made it."""
CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER")
"""Root's rights over files, which installed repositories and their tests take for granted."""
PREPARE_SECONDS = 600.0
STARTED = b"started\n"
"""Printed before a command's own output: without it the engine could not even start bash."""
GRACE = 30.0
"""Seconds in which a container that is well has ended its processes, and its client has seen it."""
NOT_THERE = (126, 127)
"""Exit statuses of an engine that finds no bash: after the first command, the agent's own doing."""
ENGINES_WORDS = "Error"
"""How Docker and podman begin to say that they failed."""

PID_1 = """
trap '' HUP INT QUIT TERM USR1 USR2
while read -r word; do
    kill -9 -1 2> /dev/null
    echo "$word"
done
"""
"""The kernel lets nothing inside end it. It needs no new process to end the others, so no fork bomb can stop it."""

COMMAND = """
printf 'started\\n'
exec 2>&1
cd TESTBED || exit NO_REPOSITORY
ulimit -S -c 0
ulimit -f FILE_KB
exec 3>&1 2> /dev/null
bash -c "$1" >&3 2>&3 3>&-
status=$?
kill -9 -1
exit $status
"""
"""Runs a command and ends what it left behind, lest it keep the output open."""


class DockerSandbox(Sandbox):
    """A container of `image`, its repository at `base_commit`. See `Sandbox`."""

    def __init__(
        self,
        image: str,
        base_commit: str,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        env: Mapping[str, str] = MappingProxyType({}),
        setup_patch: str = "",
    ) -> None:
        """Ready when it returns. UserError where there is no engine, ImageUnavailable where the image can't be had,
        Unavailable where it doesn't fit the task, InfrastructureFault where the engine failed.

        `setup_patch` is applied to the image's repository before all else.
        """
        self.limits = limits
        self._engine = engine()
        self._engine.fetch(image)
        self._name = f"rollin-{uuid.uuid4().hex[:12]}"
        self._env = dict(PUBLISHED)
        self._lock = threading.Lock()
        self._closed = self._prepared = False
        self._answers = Answers()
        self._process = _start(self._engine, self._name, image, limits)
        try:
            self._end_everyone(ANSWER_SECONDS)  # it answers as soon as it runs
            self._prepare(image, base_commit, setup_patch)
            self._env |= {**testbed.variables(self.run(testbed.ACTIVATE, seconds=60.0).output), **PUBLISHED, **env}
            self._prepared = True
        except BaseException:
            self.close()
            raise

    def run(self, command: str, *, seconds: float | None = None, waits: bool = False) -> CommandResult:
        """Run `command` by bash in /testbed. InfrastructureFault if the container or its engine failed."""
        with nullcontext() if waits else seated(), self._lock:
            return self._execute(command, b"", self.limits.seconds if seconds is None else seconds)

    def write(self, path: str, content: bytes) -> None:
        """Write a file, `path` relative to /testbed. InfrastructureFault if it can't be written."""
        with self._lock:
            result = self._execute(writing(path), content, 60.0)
        if result.returncode != 0:
            raise InfrastructureFault(f"cannot write {path} in the container: {result.output.strip()}")

    def close(self) -> None:
        """End every process and remove the container. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            self._engine.call("rm", "--force", self._name)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _prepare(self, image: str, base_commit: str, setup_patch: str) -> None:
        if setup_patch:
            self.write(".git/setup.patch", setup_patch.encode())
        result = self.run(testbed.preparation(base_commit, setup_patch), seconds=PREPARE_SECONDS)
        misfits = {
            testbed.NO_REPOSITORY: f"holds no git repository in {testbed.TESTBED}",
            testbed.NO_COMMIT: f"holds no commit {base_commit[:12] or '(the task names none)'}",
            testbed.NO_SETUP: f"does not take the task's setup patch ({result.output.strip()[-200:]})",
        }
        if words := misfits.get(result.returncode):
            raise Unavailable(f"the image {image} {words}; give the task the image that was made for it")
        if result.returncode != 0:
            raise InfrastructureFault(f"the image {image} could not be prepared: {result.output.strip()[-300:]}")

    def _execute(self, command: str, stdin: bytes, seconds: float) -> CommandResult:
        """One command, and the end of all its processes. The lock is held."""
        if self._closed:
            raise InfrastructureFault("this sandbox is closed; make a new one")
        output = Announced(self.limits.output_kb << 10, STARTED)
        try:
            client = self._exec(command, stdin)
        except OSError as error:  # longer than the system's longest argument: what the agent wrote
            return CommandResult(f"cannot start bash: {error.strerror}\n", 126)
        try:
            assert client.stdout is not None
            pour(client.stdout.fileno(), output.add, time.monotonic() + ANSWER_SECONDS)
            begun = time.monotonic()  # a busy engine's time is not the command's
            ended = pour(client.stdout.fileno(), output.add, begun + seconds)
            elapsed = time.monotonic() - begun
            self._end_everyone(GRACE)
            pour(client.stdout.fileno(), output.add, time.monotonic() + GRACE)
            status = client.wait(GRACE)
        except subprocess.TimeoutExpired as error:
            raise InfrastructureFault(f"{self._engine.name} exec did not end with its command") from error
        finally:
            client.kill()
            client.communicate()  # closes its output, too
        if not output.begun:
            return self._not_begun(output.words, status)
        text = output.capture.content().decode(errors="replace")
        return CommandResult(text, status if ended else TIMED_OUT, not ended, output.capture.dropped > 0, elapsed)

    def _exec(self, command: str, stdin: bytes) -> subprocess.Popen[bytes]:
        script = COMMAND.replace("FILE_KB", str(self.limits.disk_mb << 10))
        script = script.replace("TESTBED", testbed.TESTBED).replace("NO_REPOSITORY", str(testbed.NO_REPOSITORY))
        words = [*self._engine.words, "exec", *(["--interactive"] if stdin else [])]
        words += [word for name, value in self._env.items() for word in ("--env", f"{name}={value}")]
        with tempfile.TemporaryFile() as source:
            source.write(stdin)
            source.seek(0)
            return subprocess.Popen(
                [*map(os.fsencode, [*words, self._name, "bash", "-c", script, "bash"]), as_bytes(command)],
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _not_begun(self, words: str, status: int) -> CommandResult:
        """A container that answers, and has no bash any more, or another one, is one whose agent made it so."""
        if self._prepared and (status in NOT_THERE or not words.startswith(ENGINES_WORDS)):
            return CommandResult(f"cannot start bash: {words}\n", status or NOT_THERE[0])
        raise InfrastructureFault(f"{self._engine.name} exec failed: {words or f'exit {status}'}")

    def _end_everyone(self, seconds: float) -> None:
        """Have PID 1 end all other processes; InfrastructureFault where it doesn't answer any more."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        word = uuid.uuid4().hex.encode()  # one that no process inside can answer before it was asked
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(word + b"\n")
        if not self._answers.until(self._process.stdout.fileno(), word, time.monotonic() + seconds):
            raise InfrastructureFault(f"the container ended or hangs: {self._answers.words or 'it said nothing'}")


def _start(engine: Engine, name: str, image: str, limits: Limits) -> subprocess.Popen[bytes]:
    """The engine's client, whose input and output are PID 1's."""
    shared = min(16, max(1, limits.disk_mb // 8))
    temporary = max(1, limits.disk_mb // 4)
    words = [*engine.words, "run", "--rm", "--interactive", "--pull", "never", "--name", name]
    words += ["--label", f"{LABEL}={os.getpid()}", "--network", "none", "--hostname", "sandbox", "--user", "root"]
    words += ["--cap-drop", "ALL", *(word for name in CAPABILITIES for word in ("--cap-add", name))]
    words += ["--security-opt", "no-new-privileges", *engine.controls.flags(limits)]
    words += ["--tmpfs", f"/tmp:rw,exec,mode=1777,size={temporary}m", "--shm-size", f"{shared}m"]
    words += ["--workdir", "/", "--entrypoint", "/bin/bash", image, "-c", PID_1]
    try:
        return subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
            cwd=tempfile.gettempdir(),  # podman's monitor leaves a file where it was started, when memory runs out
        )
    except OSError as error:
        raise InfrastructureFault(f"cannot start {engine.name}: {error}") from error
