"""What a model might run (`attack_scripts.py`), and what has to come of it. docs/sandboxes.md shows this table,
test_attacks.py runs it."""

from dataclasses import dataclass
from enum import StrEnum

from attack_scripts import (
    ACCESS_LIST,
    CONNECTIONS,
    DAEMONS,
    ENDLESS_FILES,
    ESCAPES,
    FAMILIES,
    FILLER,
    FORKS,
    IN_SIGHT,
    KEPT_BY_THE_KERNEL,
    KERNEL,
    LARGER,
    MANY,
    NETWORK,
    OUT_OF_SIGHT,
    POISON,
    PRIVILEGES,
    READ,
    SETUID_COPY,
    SHARED,
    SIGNALS,
    SOCKETS,
    SPARED,
    UNTIL_REFUSED,
    all_refused,
    python,
)

ROOT, ORDINARY, CONTAINER = "bubblewrap, by root", "bubblewrap, by an ordinary user", "container"
BUBBLEWRAP = (ROOT, ORDINARY)
EVERYWHERE = (*BUBBLEWRAP, CONTAINER)


class Outcome(StrEnum):
    """What comes of an attack."""

    REFUSED = "refused"
    """The script ran to its end, and nothing in it worked."""
    TEXT = "comes back as text"
    TIMED_OUT = "stopped by its time"
    KILLED = "killed by a limit"
    """In a container the engine kills one process; the rest may go on until their time is over."""
    ENDED = "ended with its command"
    RUINS = "ruins its own sandbox"
    """A result, or a fault of this trajectory alone."""


@dataclass(frozen=True)
class Attack:
    """One row of the table."""

    kind: str
    name: str
    script: str
    outcome: Outcome
    where: tuple[str, ...] = EVERYWHERE
    seconds: float = 20.0
    slow: bool = False


REFUSED, TEXT, TIMED_OUT = Outcome.REFUSED, Outcome.TEXT, Outcome.TIMED_OUT
KILLED, ENDED, RUINS = Outcome.KILLED, Outcome.ENDED, Outcome.RUINS

ATTACKS = (
    Attack("resources", "a fork bomb of bash", ":(){ :|:& };:; sleep 60", TIMED_OUT, seconds=1.0),
    Attack("resources", "a fork bomb of Python", python(FORKS), TIMED_OUT, seconds=1.0),
    Attack(
        "resources",
        "busy processes, as many as there may be",
        "for i in $(seq 200); do (while :; do :; done) & done 2> /dev/null; wait",
        TIMED_OUT,
        seconds=1.0,
    ),
    Attack(
        "resources",
        "memory, by one process",
        all_refused("try: bytearray(1 << 30)\nexcept MemoryError: raise OSError"),
        REFUSED,
        BUBBLEWRAP,
    ),
    Attack(
        "resources",
        "memory, by one process, in a container",
        "python -c \"b = b'x' * (1 << 30)\"; test $? = 137 || echo BROKEN; echo TRIED",
        REFUSED,
        (CONTAINER,),
    ),
    Attack(
        "resources",
        "memory, by many processes",
        python("import mmap, os, time\n" + MANY.format(code="b = b'x' * (100 << 20)")),
        KILLED,
        seconds=6.0,
    ),
    Attack(
        "resources",
        "memory, in shared mappings",
        python("import mmap, os, time\n" + MANY.format(code=IN_SIGHT)),
        KILLED,
        (CONTAINER,),
        seconds=6.0,
    ),
    Attack(
        "resources",
        "memory, shared and out of sight",
        python("import mmap, os, time\n" + MANY.format(code=OUT_OF_SIGHT)),
        KILLED,
        (CONTAINER,),
        seconds=6.0,
    ),
    Attack(
        "resources",
        "memory that no process shows: of mappings, files, objects, pipes",
        all_refused(
            "mmap.mmap(-1, 1 << 20)",
            "zero = open('/dev/zero', 'rb'); mmap.mmap(zero.fileno(), 1 << 20, prot=mmap.PROT_READ)",
            "zero = open('/dev/zero', 'r+b'); mmap.mmap(zero.fileno(), 1 << 20)",
            "call('vmsplice', os.pipe()[1], ctypes.create_string_buffer(16), 1, 0)",
            "os.memfd_create('x')",
            "call('shmget', 0, 1 << 20, 0o1600)",
            "call('semget', 0, 32000, 0o1600)",
            "call('msgget', 0, 0o1600)",
            "open('x', 'w'); os.setxattr('x', 'user.x', b'x' * 60_000)",
            f"open('x', 'w'); os.setxattr('x', 'system.posix_acl_access', bytes.fromhex('{ACCESS_LIST}'))",
            LARGER.format(buffer="SO_RCVBUF"),
            LARGER.format(buffer="SO_SNDBUF"),
        ),
        REFUSED,
        BUBBLEWRAP,
    ),
    Attack("resources", "memory, in unread sockets", python(SOCKETS), KILLED, BUBBLEWRAP),
    Attack("resources", "memory, in TCP's queues", python(CONNECTIONS), KILLED, BUBBLEWRAP),
    Attack(
        "resources",
        "memory of the kernel: mappings in pieces, pipes, watches",
        python(KEPT_BY_THE_KERNEL),
        ENDED,
        BUBBLEWRAP,
        seconds=8.0,
        slow=True,
    ),
    Attack("resources", "files, until every place is full", FILLER, REFUSED, BUBBLEWRAP),
    Attack("resources", "files without end", python(ENDLESS_FILES), KILLED, BUBBLEWRAP),
    Attack("resources", "output without end", "yes", TIMED_OUT, seconds=1.0),
    Attack("resources", "a command that never ends", "trap '' TERM INT HUP; sleep 600", TIMED_OUT, seconds=0.5),
    Attack("resources", "descriptors, watches, terminals, threads", python(UNTIL_REFUSED), REFUSED, BUBBLEWRAP),
    Attack("processes", "daemons: setsid, nohup, a double fork, disown", DAEMONS, ENDED),
    Attack("processes", "signals and ptrace to PID 1 and the host", all_refused(*SIGNALS), REFUSED, BUBBLEWRAP),
    Attack("processes", "kill all, stop PID 1", "kill -INT 1; kill -STOP 1; kill -9 1; kill -9 -1; kill -9 $$", ENDED),
    Attack("the host", "its files, its environment, through /proc too", READ, REFUSED),
    Attack("the host", "its loopback, the gateway with a key, the internet", all_refused(*NETWORK), REFUSED),
    Attack("the host", "past its network: sockets of virtual machines", all_refused(*FAMILIES), REFUSED, BUBBLEWRAP),
    Attack("the host", "the kernel, by /proc, /sys and system calls", all_refused(*KERNEL), REFUSED, BUBBLEWRAP),
    Attack(
        "the host",
        "to be spared when memory runs out",
        all_refused(*SPARED),
        REFUSED,
        BUBBLEWRAP,
    ),
    Attack("privileges", "root, mounts, namespaces, devices, priority", all_refused(*PRIVILEGES), REFUSED, BUBBLEWRAP),
    Attack("privileges", "set-uid programs", SETUID_COPY, REFUSED, BUBBLEWRAP),
    Attack(
        "later tasks", "the template, the Python environment, the system", all_refused(*SHARED), REFUSED, BUBBLEWRAP
    ),
    Attack("later tasks", "poison left wherever it can be", POISON, ENDED),
    Attack("what rollin reads", "escapes, imitated markers, a terminal's input", ESCAPES, TEXT),
    Attack("what rollin reads", "a NUL, half a character, bytes that are no text", "echo \0 \ud800 \udcff TRIED", TEXT),
    Attack("what rollin reads", "a command of 3 MB", ": " + "x" * 3_000_000, RUINS),
    Attack(
        "its own sandbox",
        "everything deleted",
        "rm -rf --no-preserve-root / 2> /dev/null",
        RUINS,
        seconds=2.0,
        slow=True,
    ),
    Attack(
        "its own sandbox",
        "nothing may be read",
        "chmod -R 0 / 2> /dev/null; chmod 0 . /tmp /dev/shm",
        RUINS,
        seconds=2.0,
        slow=True,
    ),
)
"""Against a sandbox. Those on patches and tests are in `patch_attacks.py`."""
