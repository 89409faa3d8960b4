"""bubblewrap's command line: what there is inside a sandbox, and what isn't."""

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from rollin.sandboxes import groups, init
from rollin.sandboxes.base import TEMPLATE, Limits
from rollin.sandboxes.seccomp import seccomp_filter
from rollin.sandboxes.surroundings import Surroundings

USER_NAMESPACE_UID = 1000
FIRST_UID, UIDS = 20_000, 40_000
"""As root each sandbox gets a uid of its own from here: the kernel counts processes by uid."""
CAPABILITIES = {
    "CAP_CHOWN": 0,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_SYS_NICE": 23,
}
"""What PID 1 keeps where rollin runs as root, with the bits of linux/capability.h. Commands have none."""
SETARCH = "/usr/bin/setarch"
FILES_PER_MB = 256
"""Files that a sandbox may hold for each megabyte of its disk: as many as would fill it with one block each."""

_uids = itertools.count(os.getpid() * 64)


def command_line(
    template: Path,
    limits: Limits,
    env: Mapping[str, str],
    around: Surroundings,
    shown: Mapping[str, Path],
    *,
    user_namespace: bool,
) -> tuple[list[str], list[int]]:
    """The words that start a sandbox's PID 1, and the open files that they refer to (the caller closes them)."""
    uid = USER_NAMESPACE_UID if user_namespace else FIRST_UID + next(_uids) % UIDS
    passwd = _in_memory(f"root:x:0:0:root:/:/bin/bash\nagent:x:{uid}:{uid}:agent:/tmp:/bin/bash\n".encode())
    group = _in_memory(f"root:x:0:\nagent:x:{uid}:\n".encode())
    descriptors = [passwd, group]
    words = ["bwrap", *_namespaces(user_namespace, uid), *_system(), *_own(user_namespace)]
    words += [*_workspace(template, limits), *_python(around)]
    words += [word for place, path in shown.items() for word in _read_only(str(path.resolve()), place)]
    for descriptor, path in ((passwd, "/etc/passwd"), (group, "/etc/group")):
        words += ["--perms", "0644", "--ro-bind-data", str(descriptor), path]
    words += [word for path, target in around.links.items() for word in ("--symlink", target, path)]
    words += [word for path in ("/proc", "/dev", "/") for word in ("--remount-ro", path)]
    if (refused_calls := seccomp_filter()) is not None:
        descriptors.append(_in_memory(refused_calls))
        words += ["--seccomp", str(descriptors[-1])]
    path = f"{around.programs}:/usr/local/bin:/usr/bin:/bin"
    words.append("--clearenv")
    for name, value in {**around.variables, "PATH": path, **env}.items():
        words += ["--setenv", name, value]
    words += [os.path.realpath(sys.executable), "-I", "-S", "/run/init.py"]
    words += map(str, [-1 if user_namespace else uid, *_bounds(limits, user_namespace)])
    return [*words, *steady()], descriptors


@cache
def steady() -> tuple[str, ...]:
    """What starts a command so that memory has the same addresses each time: Python hashes None, classes and functions
    by them, and tests that are made of a set are called by its order. Empty where that isn't there or isn't allowed, as
    in Docker's containers. (For all of a sandbox at once it can't be: a process that gains rights loses it.)"""
    words = (SETARCH, "--addr-no-randomize")
    try:
        works = subprocess.run([*words, "true"], capture_output=True).returncode == 0
    except OSError:
        works = False
    return words if works else ()


def protections(*, user_namespace: bool) -> tuple[list[str], list[str]]:
    """What holds in a sandbox on this machine, and what doesn't, in words."""
    by_kernel = _counted(user_namespace) and (not user_namespace or os.geteuid() != 0)
    found = {
        "a uid for each sandbox": not user_namespace,
        "a filter of system calls": seccomp_filter() is not None,
        "a limit of processes kept by the kernel": by_kernel,
        "a control group for each sandbox": groups.home() is not None,
    }
    looked_at = "memory, sockets and files" if by_kernel else "memory, sockets, files and processes"
    held = [words for words, holds in found.items() if holds] + [f"{looked_at} looked at every {init.TICK} s"]
    return held, [words for words, holds in found.items() if not holds]


def _in_memory(content: bytes) -> int:
    descriptor = os.memfd_create("file")
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _bounds(limits: Limits, user_namespace: bool) -> list[int]:
    megabyte = 1 << 20
    return [
        limits.memory_mb * megabyte,
        limits.processes,
        int(_counted(user_namespace)),
        limits.disk_mb * megabyte,
        limits.disk_mb * FILES_PER_MB,
        limits.output_kb << 10,
    ]


def _counted(user_namespace: bool) -> bool:
    """Whether the kernel can count a sandbox's processes, and not the user's others with them."""
    release = re.match(r"(\d+)\.(\d+)", os.uname().release)
    recent = release is None or (int(release[1]), int(release[2])) >= (5, 14)
    return not user_namespace or recent


def _namespaces(user_namespace: bool, uid: int) -> list[str]:
    flags = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    flags += ["--hostname", "sandbox", "--as-pid-1"]
    if user_namespace:
        return [*flags, "--unshare-user", "--uid", str(uid), "--gid", str(uid), "--cap-add", "CAP_DAC_READ_SEARCH"]
    flags += ["--cap-drop", "ALL"]
    return [*flags, *(word for capability in capabilities() for word in ("--cap-add", capability))]


def capabilities() -> list[str]:
    """Of `CAPABILITIES`, those that this process has. Asked for another one, bubblewrap silently leaves PID 1 all."""
    told = re.search(r"^CapEff:\s*(\w+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    own = int(told[1], 16) if told else 0
    return [name for name, bit in CAPABILITIES.items() if own >> bit & 1]


def _system() -> list[str]:
    flags = ["--ro-bind", "/usr", "/usr", "--perms", "0755", "--dir", "/etc"]
    for path in map(Path, ("/bin", "/sbin", "/lib", "/lib32", "/lib64")):
        if path.is_symlink():
            flags += ["--symlink", os.readlink(path), str(path)]
        elif path.exists():
            flags += ["--ro-bind", str(path), str(path)]
    for name in ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "nsswitch.conf"):
        flags += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    flags += ["--proc", "/proc", "--dev", "/dev"]
    # /dev/full reads like /dev/zero, and can't be mapped: what several processes map of /dev/zero shows in none of them
    return [*flags, "--dev-bind", "/dev/full", "/dev/zero"]


def _own(user_namespace: bool) -> list[str]:
    """A /proc for PID 1, below a folder that root alone may enter, or in a user namespace who passes over modes."""
    mode = "0000" if user_namespace else "0700"
    return ["--perms", "0755", "--dir", "/run", "--perms", mode, "--dir", init.OWN, "--proc", f"{init.OWN}/proc"]


def _workspace(template: Path, limits: Limits) -> list[str]:
    shared = min(16, max(1, limits.disk_mb // 8))
    temporary = max(1, limits.disk_mb // 4)
    repository = max(1, limits.disk_mb - temporary - shared)
    flags: list[str] = []
    for size, mode, path in (
        (temporary, "1777", "/tmp"),
        (repository, "0755", init.WORKSPACE),
        (shared, "1777", "/dev/shm"),
    ):
        flags += ["--perms", mode, "--size", str(size << 20), "--tmpfs", path]
    return [*flags, *_read_only(str(template.resolve()), TEMPLATE), *_read_only(init.__file__, "/run/init.py")]


def _python(around: Surroundings) -> list[str]:
    """The trees that `python` needs, less what is hidden."""
    flags = [word for path in map(str, around.folders) for word in _read_only(path, path)]
    for path in around.hidden:
        if not any(path.is_relative_to(folder) for folder in (Path("/usr"), *around.folders)):
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
