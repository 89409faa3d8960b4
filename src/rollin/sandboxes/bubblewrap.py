"""A sandbox made by bubblewrap: one process that starts in milliseconds, no daemon, no image, no root needed.

Enforced: own PID, network, IPC and UTS namespaces (no loopback to the host either); a read-only system; a clean
environment; a wall-clock and a CPU limit for each command; address space, file size and core size of each process;
the number of processes; the memory of all processes together (looked at every 0.1 s, so a fast allocator passes it
for a moment); what /repo, /tmp and /dev/shm hold (nothing else can be mounted: see `seccomp`); what a command prints.
No process outlives its command.
Not enforced: shares of CPU and of disk bandwidth, which need control groups.

As root, commands run under a uid of their own for each sandbox. As an ordinary user they run in a user namespace; on
kernels before 5.14 the number of processes is not limited there, because it would count the user's other processes.
"""

import contextlib
import itertools
import os
import re
import select
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

from rollin.errors import InfrastructureFault, UserError
from rollin.sandboxes import init
from rollin.sandboxes.base import CommandResult, Limits
from rollin.sandboxes.seccomp import seccomp_filter

TEMPLATE = "/var/lib/repo.git"
"""Where a sandbox sees its template repository, read-only."""
GRACE = 10.0
"""Seconds past a command's limit after which the sandbox itself counts as hung."""

ENVIRONMENT = {
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "USER": "agent",
    "PAGER": "cat",
    "EDITOR": "true",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    # Loading every installed plugin costs pytest 1.5 s at each start.
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "PYTEST_ADDOPTS": "-p no:cacheprovider",
    "GIT_PAGER": "cat",
    "GIT_EDITOR": "true",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Agent",
    "GIT_AUTHOR_EMAIL": "agent@example.org",
    "GIT_COMMITTER_NAME": "Agent",
    "GIT_COMMITTER_EMAIL": "agent@example.org",
    # Fixed dates: the same commands make the same commit ids in every run.
    "GIT_AUTHOR_DATE": "2025-01-01T09:00:00Z",
    "GIT_COMMITTER_DATE": "2025-01-01T09:00:00Z",
}

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
git read-tree --reset -u HEAD
"""
"""The work copy borrows the template's objects (alternates), so nothing is copied but the files themselves.
(`git init` and `git clone --shared` make the same, and take 3 and 10 ms longer.)"""

_uids = itertools.count(os.getpid() * 64)


class BubblewrapSandbox:
    """A work copy of `template` (a bare repository made by `materialise`) and a bash in it. See `Sandbox`."""

    def __init__(
        self,
        template: Path,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        env: Mapping[str, str] | None = None,
        hidden: Sequence[Path] = (),
    ) -> None:
        """Ready when it returns. UserError where bubblewrap can't work at all, InfrastructureFault where it failed.

        `env` goes on top of ENVIRONMENT; `hidden` names files and folders of the Python environment to leave out.
        """
        self.limits = limits
        self._lock = threading.Lock()
        self._closed = False
        self._process = _start(template, limits, {**_environment(), **(env or {})}, hidden)
        result = self.run(CHECK_OUT, seconds=60.0)
        if result.returncode != 0:
            self.close()
            raise InfrastructureFault(f"the sandbox could not check out {template}: {result.output.strip()}")

    def run(self, command: str, *, seconds: float | None = None) -> CommandResult:
        """Run `command` by bash in /repo. InfrastructureFault if the sandbox is closed, died or hangs."""
        return self._exchange(command, b"", self.limits.seconds if seconds is None else seconds)

    def write(self, path: str, content: bytes) -> None:
        """Write a file, `path` relative to /repo. InfrastructureFault if it can't be written."""
        target = shlex.quote(path)
        result = self._exchange(f'mkdir -p "$(dirname {target})" && cat > {target}', content, 60.0)
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _exchange(self, command: str, stdin: bytes, seconds: float) -> CommandResult:
        encoded = command.encode(errors="surrogateescape").replace(b"\0", b"")
        request = init.REQUEST.pack(seconds, len(encoded), len(stdin)) + encoded + stdin
        deadline = time.monotonic() + seconds + GRACE
        with self._lock:
            if self._closed:
                raise InfrastructureFault("this sandbox is closed; make a new one")
            try:
                self._send(request)
                header = init.REPLY.unpack(self._read(init.REPLY.size, deadline))
                returncode, timed_out, truncated, elapsed, size = header
                output = self._read(size, deadline).decode(errors="replace")
            except (BrokenPipeError, EOFError, TimeoutError) as error:
                fault = self._fault(error)
            except BaseException:  # interrupted half-way: the two sides no longer agree on where they are
                self._kill()
                raise
            else:
                return CommandResult(output, returncode, timed_out, truncated, elapsed)
        self.close()
        raise fault

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


def _start(template: Path, limits: Limits, env: Mapping[str, str], hidden: Sequence[Path]) -> subprocess.Popen[bytes]:
    user_namespace = check()
    uid = 1000 if user_namespace else 20_000 + next(_uids) % 40_000
    files = {
        "/etc/passwd": f"root:x:0:0:root:/:/bin/bash\nagent:x:{uid}:{uid}:agent:/tmp:/bin/bash\n",
        "/etc/group": f"root:x:0:\nagent:x:{uid}:\n",
    }
    descriptors = {path: _in_memory(text.encode()) for path, text in files.items()}
    command = ["bwrap", *_namespaces(user_namespace, uid), *_system(descriptors), *_workspace(template, limits)]
    command += [*_python(hidden), "--remount-ro", "/dev", "--remount-ro", "/"]
    if (refused_calls := seccomp_filter()) is not None:
        descriptors["seccomp"] = _in_memory(refused_calls)
        command += ["--seccomp", str(descriptors["seccomp"])]
    command += ["--clearenv", *(word for name, value in env.items() for word in ("--setenv", name, value))]
    command += [os.path.realpath(sys.executable), "-I", "-S", "/run/init.py"]
    command += map(str, [-1 if user_namespace else uid, *_bounds(limits, user_namespace)])
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            pass_fds=list(descriptors.values()),
        )
    except OSError as error:
        raise InfrastructureFault(f"cannot start bubblewrap: {error}") from error
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)


def _in_memory(content: bytes) -> int:
    descriptor = os.memfd_create("file")
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _bounds(limits: Limits, user_namespace: bool) -> list[int]:
    release = re.match(r"(\d+)\.(\d+)", os.uname().release)
    counted = not user_namespace or release is None or (int(release[1]), int(release[2])) >= (5, 14)
    megabyte = 1 << 20
    return [
        limits.memory_mb * megabyte,
        limits.processes if counted else 0,
        limits.disk_mb * megabyte,
        limits.output_kb << 10,
    ]


def _namespaces(user_namespace: bool, uid: int) -> list[str]:
    flags = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    flags += ["--hostname", "sandbox", "--as-pid-1"]
    if user_namespace:
        return [*flags, "--unshare-user", "--uid", str(uid), "--gid", str(uid)]
    needed = ("CAP_SETUID", "CAP_SETGID", "CAP_CHOWN", "CAP_KILL")  # PID 1 keeps them, commands don't
    return [*flags, *(word for capability in needed for word in ("--cap-add", capability))]


def _system(descriptors: Mapping[str, int]) -> list[str]:
    flags = ["--ro-bind", "/usr", "/usr", "--perms", "0755", "--dir", "/etc"]
    for path in map(Path, ("/bin", "/sbin", "/lib", "/lib32", "/lib64")):
        if path.is_symlink():
            flags += ["--symlink", os.readlink(path), str(path)]
        elif path.exists():
            flags += ["--ro-bind", str(path), str(path)]
    for name in ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "nsswitch.conf"):
        flags += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    for path_in_sandbox, descriptor in descriptors.items():
        flags += ["--perms", "0644", "--ro-bind-data", str(descriptor), path_in_sandbox]
    return [*flags, "--proc", "/proc", "--dev", "/dev"]


def _workspace(template: Path, limits: Limits) -> list[str]:
    shared = min(16, max(1, limits.disk_mb // 8))
    temporary = max(1, limits.disk_mb // 4)
    repository = max(1, limits.disk_mb - temporary - shared)
    flags: list[str] = []
    for size, mode, path in ((temporary, "1777", "/tmp"), (repository, "0755", "/repo"), (shared, "1777", "/dev/shm")):
        flags += ["--perms", mode, "--size", str(size << 20), "--tmpfs", path]
    return [*flags, *_read_only(str(template.resolve()), TEMPLATE), *_read_only(init.__file__, "/run/init.py")]


def _python(hidden: Sequence[Path]) -> list[str]:
    """The Python environment, without `hidden` and without rollin itself, which holds the katas' solutions."""
    flags = [word for path in _python_folders() for word in _read_only(path, path)]
    for path in (Path(__file__).parents[1], *hidden):
        if not any(path.is_relative_to(folder) for folder in ("/usr", *_python_folders())):
            continue
        if path.is_dir():
            flags += ["--size", "4096", "--tmpfs", str(path), "--remount-ro", str(path)]
        elif path.exists():
            flags += ["--ro-bind", "/dev/null", str(path)]
    return flags


def _read_only(source: str, target: str) -> list[str]:
    """Bind `source`, with parents that another uid may pass: bubblewrap alone would make them 0700."""
    parents = reversed(Path(target).parents[:-1])
    return [
        *(word for path in parents for word in ("--perms", "0755", "--dir", str(path))),
        "--ro-bind",
        source,
        target,
    ]


@cache
def _python_folders() -> list[str]:
    """The trees that `python` and `pytest` need, outermost first, less what /usr holds."""
    executable = Path(sys.executable).resolve()
    folders = {Path(sys.prefix), Path(sys.base_prefix), executable.parents[1]}
    return [str(path) for path in sorted(folders) if not path.is_relative_to("/usr") and path != Path("/")]


def _environment() -> dict[str, str]:
    return {**ENVIRONMENT, "PATH": f"{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin"}
