"""A sandbox made by bubblewrap: one process that starts in milliseconds, no daemon, no image, no root needed.

Enforced: own PID, network, IPC and UTS namespaces (no loopback to the host either); a read-only system; a clean
environment; a wall-clock and a CPU limit for each command; address space, file size and core size of each process;
the number of processes; open files of each; what /repo, /tmp and /dev/shm hold (nothing else can be mounted: see
`seccomp`); what a command prints. Looked at every 0.1 s, so that a fast one passes it for a moment: the memory and the
sockets of all processes together, the number of files, the number of processes where the kernel can't count them. A
crowd of processes gets the CPU of a few. No process outlives its command. Where the machine's memory runs out, commands
go first.
Where rollin may make control groups, the kernel bounds what all processes and files hold together, seen or not.
Not enforced: shares of disk bandwidth; elsewhere, what the kernel notes for each process, such as pieces of mappings.

As root, commands run under a uid of their own for each sandbox. As an ordinary user they run in a user namespace; the
kernel counts processes there since 5.14, and for root's own uid never.
"""

import contextlib
import json
import os
import select
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType

from rollin.errors import InfrastructureFault, UserError
from rollin.sandboxes import groups, init
from rollin.sandboxes.base import TEMPLATE, CommandResult, Limits, Sandbox, as_bytes, seated, writing
from rollin.sandboxes.surroundings import Surroundings, of_rollin
from rollin.sandboxes.walls import command_line

GRACE = 10.0
"""Seconds past a command's limit after which the sandbox itself counts as hung."""

SLACK = 64 << 20
"""Bytes that a sandbox's control group may hold beyond what its limits of memory and disk add up to: PID 1, page
tables, pipes."""

GIT_CONFIG = """\
[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = false
\tlogallrefupdates = true
[gc]
\tauto = 0
[maintenance]
\tauto = false"""
CHECK_OUT = f"""
mkdir -p .git/objects/info .git/objects/pack .git/refs/heads .git/refs/tags .git/info &&
echo 'ref: refs/heads/main' > .git/HEAD &&
echo '{GIT_CONFIG}' > .git/config &&
echo {TEMPLATE}/objects > .git/objects/info/alternates &&
read -r head < {TEMPLATE}/refs/heads/main && echo $head > .git/refs/heads/main &&
mkdir -p .git/logs/refs/heads &&
printf '%s %s Agent <agent@example.org> 1735722000 +0000\\tclone: from the template\\n' $head $head |
    tee .git/logs/HEAD > .git/logs/refs/heads/main &&
git read-tree --reset -u HEAD
"""
"""The work copy borrows the template's objects (alternates), so nothing is copied but the files themselves.
Its reflog begins at the base commit, as after a clone: that is how an agent that got lost finds back.
(`git init` and `git clone --shared` make the same, and take 3 and 10 ms longer.)"""


class BubblewrapSandbox(Sandbox):
    """A work copy of `template` (a bare repository made by `materialise`) and a bash in it. See `Sandbox`."""

    def __init__(
        self,
        template: Path,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        env: Mapping[str, str] | None = None,
        around: Surroundings | None = None,
        shown: Mapping[str, Path] = MappingProxyType({}),
    ) -> None:
        """Ready when it returns. UserError where bubblewrap can't work at all, InfrastructureFault where it failed.

        `env` goes on top of the variables that are `around` (rollin's own environment if left out); `shown` names what
        of the host is to be seen besides, read-only, by its path inside.
        """
        self.limits = limits
        self._lock = threading.Lock()
        self._closed = False
        self._group = _group(limits)
        self._kills = 0
        try:
            self._process, told = _start(template, limits, env or {}, around or of_rollin(), shown)
        except BaseException:
            self._leave_group()
            raise
        with ThreadPoolExecutor(1) as beside:
            entered = beside.submit(_enter, self._group, told)
            result = self.run(CHECK_OUT, seconds=60.0)
        if result.returncode != 0 or not entered.result():
            self.close()
            why = result.output.strip() if result.returncode else "it could not be put into its control group"
            raise InfrastructureFault(f"the sandbox could not check out {template}: {why}")

    def run(self, command: str, *, seconds: float | None = None, waits: bool = False) -> CommandResult:
        """Run `command` by bash in /repo. InfrastructureFault if the sandbox is closed, died or hangs."""
        return self._exchange(command, b"", self.limits.seconds if seconds is None else seconds, waits=waits)

    def write(self, path: str, content: bytes) -> None:
        """Write a file, `path` relative to /repo. InfrastructureFault if it can't be written."""
        result = self._exchange(writing(path), content, 60.0)
        if result.returncode != 0:
            raise InfrastructureFault(f"cannot write {path} in the sandbox: {result.output.strip()}")

    def close(self) -> None:
        """End every process and free the workspace. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._kill()
        with self._lock:  # a thread inside `run` sees the end of the pipe first
            self._process.communicate()
        self._leave_group()

    def _exchange(self, command: str, stdin: bytes, seconds: float, *, waits: bool = False) -> CommandResult:
        encoded = as_bytes(command)
        request = init.REQUEST.pack(seconds, len(encoded), len(stdin)) + encoded + stdin
        with nullcontext() if waits else seated(), self._lock:
            deadline = time.monotonic() + seconds + GRACE
            if self._closed:
                raise InfrastructureFault("this sandbox is closed; make a new one")
            try:
                self._send(request)
                header = init.REPLY.unpack(self._read(init.REPLY.size, deadline))
                returncode, timed_out, killed, truncated, elapsed, size = header
                output = self._read(size, deadline).decode(errors="replace")
            except (BrokenPipeError, EOFError, TimeoutError) as error:
                fault = self._fault(error)
            except BaseException:  # interrupted half-way: the two sides no longer agree on where they are
                self._kill()
                raise
            else:
                result = CommandResult(output, returncode, timed_out, truncated, elapsed, killed)
                by_the_kernel = self._killed_some()
                return _killed(result) if by_the_kernel and not killed else result
        self.close()
        raise fault

    def _killed_some(self) -> bool:
        """Whether the kernel has killed for the group's bound since the last look. InfrastructureFault where the group
        has gone."""
        try:
            before, self._kills = self._kills, self._group.kills() if self._group else 0
        except (OSError, ValueError) as error:
            raise InfrastructureFault(f"the sandbox's control group can't be read: {error}") from error
        return self._kills > before

    def _leave_group(self) -> None:
        if self._group:
            self._group.close()

    def _send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        rest = memoryview(data)
        while rest:
            rest = rest[self._process.stdin.write(rest) or 0 :]

    def _read(self, size: int, deadline: float) -> bytes:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        data = bytearray()
        while len(data) < size:
            if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError
            chunk = os.read(descriptor, size - len(data))
            if not chunk:
                raise EOFError
            data += chunk
        return bytes(data)

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, 9)  # bwrap and, in its session, PID 1 of the sandbox: the rest dies with it

    def _fault(self, error: Exception) -> InfrastructureFault:
        """What happened, with bubblewrap's own last words. PID 1 can't be ended from inside, so it's no one's doing."""
        if isinstance(error, TimeoutError):
            return InfrastructureFault("the sandbox did not answer; the machine may be overloaded")
        assert self._process.stderr is not None
        self._kill()
        words = self._process.stderr.read().decode(errors="replace").strip()
        return InfrastructureFault(f"the sandbox ended by itself: {words or 'it was killed from outside'}")


@cache
def check() -> bool:
    """Whether sandboxes here need a user namespace of their own. UserError says what is missing, and the cure."""
    if shutil.which("bwrap") is None:
        raise UserError("bubblewrap (bwrap) was not found: install it with `apt-get install -y bubblewrap`")
    probe = ["bwrap", "--ro-bind", "/", "/", "--unshare-pid", "--unshare-net", "--proc", "/proc"]
    words = ""
    for user_namespace in [False, True] if os.geteuid() == 0 else [True]:
        flags = ["--unshare-user"] if user_namespace else []
        outcome = subprocess.run([*probe, *flags, "true"], capture_output=True, text=True)
        if outcome.returncode == 0:
            return user_namespace
        words = outcome.stderr.strip()
    raise UserError(
        f"bubblewrap may not make namespaces here ({words}): allow them with"
        " `sysctl kernel.unprivileged_userns_clone=1` or, on Ubuntu,"
        " `sysctl kernel.apparmor_restrict_unprivileged_userns=0`; start a container with `--privileged`"
    )


def _killed(result: CommandResult) -> CommandResult:
    """The result of a command of which the kernel has killed processes."""
    said = f"{result.output}\n[killed: it held more memory than there is for it, in files or out of sight]\n"
    return replace(result, output=said, returncode=init.KILLED, timed_out=False, killed=True)


def _group(limits: Limits) -> groups.Group | None:
    home = groups.home()
    if home is None:
        return None
    try:
        return groups.Group(home, (limits.memory_mb + limits.disk_mb << 20) + SLACK)
    except (OSError, ValueError) as error:
        raise InfrastructureFault(f"cannot make a control group: {error}") from error


def _enter(group: groups.Group | None, told: int) -> bool:
    """Put PID 1 into the group as soon as bubblewrap has told its number. It can't be where it is dead by then."""
    with os.fdopen(told, "rb") as pipe:
        words = pipe.read()
    try:
        if group:
            group.enter(json.loads(words)["child-pid"])
    except (OSError, ValueError):
        return False
    return True


def _start(
    template: Path, limits: Limits, env: Mapping[str, str], around: Surroundings, shown: Mapping[str, Path]
) -> tuple[subprocess.Popen[bytes], int]:
    """bubblewrap, and a descriptor from which it can be read how PID 1 is called here."""
    words, descriptors = command_line(template, limits, env, around, shown, user_namespace=check())
    told, teller = os.pipe()
    descriptors.append(teller)
    try:
        process = subprocess.Popen(
            [words[0], "--info-fd", str(teller), *words[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            pass_fds=descriptors,
        )
    except OSError as error:
        os.close(told)
        raise InfrastructureFault(f"cannot start bubblewrap: {error}") from error
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return process, told
