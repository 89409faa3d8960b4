"""PID 1 of a bubblewrap sandbox: runs the commands that arrive on stdin, one at a time, and answers on stdout.

It runs by `python -I -S`, imports only what starts fast, and is the one process that outlives a command. The kernel
lets nothing inside a PID namespace kill its PID 1, so an agent can end its own commands but not this loop.

argv: uid to run commands as (-1: stay), bytes of memory, processes, whether the kernel counts those by uid (1 or 0),
bytes of a file, files, bytes of output; then the words that start bash, if any.
"""

import _signal  # type: ignore[import-not-found]  # the C module: `signal` itself costs 5 ms of enums at every start
import math
import os
import resource
import select
import struct
import sys
import time

REQUEST = struct.Struct("<dII")
"""Seconds the command may take, bytes of the command, bytes of its stdin; then both."""
REPLY = struct.Struct("<i???dI")
"""Exit status, timed out, killed, truncated, seconds taken, bytes of output; then the output."""

WORKSPACE = "/repo"
WRITABLE = (WORKSPACE, "/tmp", "/dev/shm")
OWN = "/run/own"
"""A folder that this process alone may enter. It holds a /proc that can be written: commands see one that can't."""
TICK = 0.1
"""Seconds between two looks at what a command uses."""
TIMED_OUT, KILLED = 124, 137
"""Exit statuses of a command that was stopped, as `timeout` and the kernel's own killer give them."""
DESCRIPTORS = 1024
"""Open files of a process: what Linux gives to programs that don't ask for more."""
SOCKET = 208 << 10
"""Bytes that count for each socket: what the kernel lets one hold back unread, if it isn't one of TCP, which tell what
they hold. No process's memory shows them."""
SPARED, EXPOSED = 900, 1000
"""The kernel's oom_score_adj of this process, and of commands."""
PR_SET_DUMPABLE, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 4, 47, 4
"""Of linux/prctl.h."""
CROWD = 4
"""Processes that run at full weight. More than that share the weight of so many."""
WEIGHT_OF_A_STEP = 1.25
"""By how much a step of niceness lowers a process's share of a CPU, sched(7)."""


class Bounds:
    """What one command may use, and what starts it."""

    def __init__(self, argv: list[str]) -> None:
        numbers, self.starter = map(int, argv[:7]), [os.fsencode(word) for word in argv[7:]]
        self.uid, self.memory, self.processes, self.counted, self.file_size, self.files, self.output = numbers


class Verdict:
    """Why a command was stopped: its exit status, and what to tell about it."""

    def __init__(self, status: int, words: bytes = b"") -> None:
        self.status, self.words = status, words


class Capture:
    """The head and the tail of a stream, at most `limit` bytes of it together."""

    def __init__(self, limit: int) -> None:
        self.half = limit // 2
        self.head = bytearray()
        self.tail = bytearray()
        self.seen = 0

    def add(self, data: bytes) -> None:
        self.seen += len(data)
        room = self.half - len(self.head)
        self.head += data[:room]
        self.tail += data[room:]
        if len(self.tail) > 2 * self.half:
            del self.tail[: -self.half]

    @property
    def dropped(self) -> int:
        return self.seen - len(self.head) - min(len(self.tail), self.half)

    def content(self) -> bytes:
        if not self.dropped:
            return bytes(self.head + self.tail)
        return b"%b\n[... %d bytes of output dropped ...]\n%b" % (
            bytes(self.head),
            self.dropped,
            bytes(self.tail[-self.half :]),
        )


def main() -> None:
    bounds = Bounds(sys.argv[1:])
    protect(bounds)
    while header := read_exactly(REQUEST.size):
        seconds, command_size, stdin_size = REQUEST.unpack(header)
        command, stdin = read_exactly(command_size), read_exactly(stdin_size)
        started = time.monotonic()
        status, verdict, output = execute(command, stdin, seconds, bounds)
        why = verdict.status if verdict else None
        content, elapsed = output.content(), time.monotonic() - started
        told = (status, why == TIMED_OUT, why == KILLED, output.dropped > 0, elapsed, len(content))
        send(REPLY.pack(*told) + content)


def protect(bounds: Bounds) -> None:
    """When the host runs out of memory, a sandbox goes first, and its commands before this process. Nobody inside may
    read or write this process, or interrupt it: the kernel keeps from a PID 1 what it has no handler for, and Python
    has one for SIGINT."""
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    be_spared(SPARED)
    if bounds.uid < 0:  # commands share this process's uid: without this they could open /proc/1/mem
        control(PR_SET_DUMPABLE, 0)
        control(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)  # what bubblewrap let it keep is no child's
    else:
        os.chown(WORKSPACE, bounds.uid, bounds.uid)


def control(option: int, value: int) -> None:
    """prctl(2)."""
    import ctypes  # costs milliseconds, and root needs none of it

    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def be_spared(score: int) -> None:
    """Where memory runs out, of the machine or of the sandbox's control group, the highest score goes first."""
    try:
        with open(f"{OWN}/proc/self/oom_score_adj", "w") as file:
            file.write(str(score))
    except PermissionError:  # the host has set a higher one, below which nothing may go
        pass


def execute(command: bytes, stdin: bytes, seconds: float, bounds: Bounds) -> tuple[int, Verdict | None, Capture]:
    """Run one command; when it ends, so does every process it left behind. Exit status, why it was stopped, output."""
    source = feed(stdin)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        become(command, source, writer, seconds, bounds)
    os.close(writer)
    os.close(source)
    output = Capture(bounds.output)
    verdict = watch(child, reader, output, time.monotonic() + seconds, bounds)
    status = end_everyone(child)
    drain(reader, output)
    os.close(reader)
    if verdict is None:
        return status, None, output
    if verdict.words:
        output.add(b"\n[killed: %b]\n" % verdict.words)
    return verdict.status, verdict, output


def feed(content: bytes) -> int:
    """A descriptor to read `content` from: a pipe that a process fills. (The filter refuses files in memory.)"""
    if not content:
        return os.open("/dev/null", os.O_RDONLY)
    reader, writer = os.pipe()
    if os.fork() == 0:
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(writer, rest) :]
        finally:
            os._exit(0)
    os.close(writer)
    return reader


def become(command: bytes, source: int, writer: int, seconds: float, bounds: Bounds) -> None:
    """In the child: turn into bash, as the sandbox's user, within the limits. Never returns."""
    try:
        os.setsid()
        for target, descriptor in enumerate((source, writer, writer)):
            os.dup2(descriptor, target)
        limit(resource.RLIMIT_AS, bounds.memory)
        limit(resource.RLIMIT_FSIZE, bounds.file_size)
        limit(resource.RLIMIT_CORE, 0)
        limit(resource.RLIMIT_CPU, int(seconds) + 1)
        limit(resource.RLIMIT_NOFILE, DESCRIPTORS)
        if bounds.counted:
            limit(resource.RLIMIT_NPROC, bounds.processes)
        if bounds.uid < 0:  # no command runs yet, and until then its files in /proc would be root's
            control(PR_SET_DUMPABLE, 1)
        be_spared(EXPOSED)
        if bounds.uid >= 0:
            os.fchown(1, bounds.uid, bounds.uid)  # that it may open /dev/stdout
            os.setgroups([])
            os.setgid(bounds.uid)
            os.setuid(bounds.uid)
        restore_signals()
        os.chdir(WORKSPACE)
        words = [*bounds.starter, b"bash", b"-c", command]
        os.execv(words[0] if bounds.starter else b"/bin/bash", words)
    except BaseException as error:
        os.write(2, f"cannot start bash: {error}\n".encode())
    finally:
        os._exit(126)


def limit(kind: int, value: int) -> None:
    """Lower a limit of this process for good; one that the host set lower stays."""
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def restore_signals() -> None:
    """Python ignores these two, and bash would inherit that: `yes | head` has to end quietly."""
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):
        _signal.signal(number, _signal.SIG_DFL)


def watch(child: int, reader: int, output: Capture, deadline: float, bounds: Bounds) -> Verdict | None:
    """Collect output until the child ends. The verdict where it had to be stopped, None where it ended by itself."""
    files_before = files()
    pidfd = os.pidfd_open(child)
    poller = select.poll()
    poller.register(reader, select.POLLIN)
    poller.register(pidfd, select.POLLIN)
    poller.register(0, 0)  # POLLHUP: the host is gone
    next_look = time.monotonic() + TICK
    try:
        while True:
            now = time.monotonic()
            if now >= deadline:
                return Verdict(TIMED_OUT)
            if now >= next_look:
                next_look = now + TICK
                reap_orphans(child)
                if words := excess(bounds, files_before):
                    return Verdict(KILLED, words)
            ready = dict(poller.poll(max(0.0, min(deadline, next_look) - now) * 1000 + 1))
            if 0 in ready:
                os._exit(0)
            if pidfd in ready:  # first: a daemon may keep the pipe busy for ever
                return None
            if reader in ready:
                data = os.read(reader, 1 << 16)
                output.add(data)
                if not data:
                    poller.unregister(reader)
    finally:
        os.close(pidfd)


def reap_orphans(child: int) -> None:
    """A dead process counts against the limit until it is waited for. The child itself is waited for at the end."""
    while True:
        dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if dead is None or dead.si_pid in (0, child):
            return
        os.waitpid(dead.si_pid, 0)


def excess(bounds: Bounds, files_before: int) -> bytes:
    """What is used beyond its bound, in words; b"" where nothing is. A crowd of processes is made to step back."""
    processes = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    if len(processes) - 1 > bounds.processes:
        return b"it had more than %d processes" % bounds.processes
    if memory_in_use(processes) > bounds.memory:
        return b"its processes together used more than %d MB" % (bounds.memory >> 20)
    if files() > max(bounds.files, files_before):  # a command that only deletes some goes on
        return b"there were more than %d files" % bounds.files
    if len(processes) - 1 > CROWD:
        step_back(processes)
    return b""


def memory_in_use(processes: list[int]) -> int:
    """Bytes of memory that no file on a disk holds, of all processes in the sandbox, this one included, in memory or
    swapped out, with their page tables and sockets. What several processes share counts for each."""
    kilobytes = 0
    shown = b"RssAnon:", b"RssShmem:", b"VmSwap:", b"VmPTE:"
    for pid in processes:
        try:
            with open(f"/proc/{pid}/status", "rb") as file:
                lines = file.read().splitlines()
        except OSError:  # it ended meanwhile
            continue
        kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith(shown))
    with open("/proc/net/sockstat", "rb") as file:
        sockets = int(file.readline().split()[2])
    return (kilobytes << 10) + sockets * SOCKET + held_back("tcp") + held_back("tcp6")


def held_back(protocol: str) -> int:
    """Bytes that its sockets have sent and not delivered, or that wait to be read."""
    try:
        with open(f"/proc/net/{protocol}", "rb") as file:
            queues = [line.split()[4].split(b":") for line in file.readlines()[1:]]
    except FileNotFoundError:  # a machine without IPv6
        return 0
    return sum(int(sent, 16) + int(waiting, 16) for sent, waiting in queues)


def files() -> int:
    """Files and folders in the places where a command can write. Each takes a kilobyte of the kernel's memory."""
    places = [os.statvfs(place) for place in WRITABLE]
    return sum(place.f_files - place.f_ffree for place in places)


def step_back(processes: list[int]) -> None:
    """Lower the weight of each, so that all together weigh as much as `CROWD`: other sandboxes want to run, too."""
    niceness = min(19, round(math.log(len(processes) / CROWD, WEIGHT_OF_A_STEP)))
    for pid in processes:
        if pid != 1:
            try:  # noqa: SIM105 - contextlib costs 4 ms at every start
                os.setpriority(os.PRIO_PROCESS, pid, niceness)
            except OSError:  # it ended meanwhile, or steps back further already
                pass


def end_everyone(child: int) -> int:
    """Kill all other processes of the PID namespace and wait for them. The child's exit status, as a shell has it."""
    status = 0
    try:  # noqa: SIM105 - contextlib costs 4 ms at every start
        os.kill(-1, 9)
    except ProcessLookupError:
        pass
    while True:
        try:
            pid, code = os.waitpid(-1, 0)
        except ChildProcessError:
            return status
        if pid == child:
            status = os.waitstatus_to_exitcode(code)
            status = 128 - status if status < 0 else status


def drain(reader: int, output: Capture) -> None:
    """What is still in the pipe. Every writer is dead, so this ends."""
    while data := os.read(reader, 1 << 16):
        output.add(data)


def read_exactly(size: int) -> bytes:
    """`size` bytes of stdin; b"" when the host has closed it."""
    data = bytearray()
    while len(data) < size:
        chunk = os.read(0, size - len(data))
        if not chunk:
            os._exit(0)
        data += chunk
    return bytes(data)


def send(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    main()
