"""The system calls that a sandbox refuses, as a seccomp filter.

A command needs no user namespace of its own. With one it could mount a tmpfs of any size and so pass the limit of
disk, which is held in memory. Files in memory, System V's objects, mappings that are shared and no file's, and pages
given to a pipe hold memory that belongs to no process, so that nothing could count it; some would even outlive their
command. (Programs that share memory do so by files of /dev/shm.) The others are refused because programs rarely need
them and kernels had faults there, or because they use up what the whole machine shares. And a process sets its own
limits, no other's: where commands have PID 1's uid, they could end it by a limit. Sockets are of the families that
programs need and a network namespace holds: those for virtual machines lead to the host out of any namespace. Their
buffers stay as large as they begin (the kernel may give 8 MB to each, uncounted): who asks for more is told that it is
done, as the kernel itself does beyond its bounds. Files have no attributes or access lists, which take up to 64 KB of
the kernel's memory each.
"""

import platform
import struct

DONE, EPERM, ENOSYS, ENOTSUP, EAFNOSUPPORT = 0, 1, 38, 95, 97
"""What a refused call comes back with."""
CLONE_NEWUSER = 0x1000_0000
X32_CALLS = 0x4000_0000
"""Bit of x86-64's second table of system calls, which would be a way around this one."""

LOAD, MASK, JUMP_IF_EQUAL, JUMP_IF_AT_LEAST, JUMP_IF_ANY_BIT, RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
"""Instructions of the classic Berkeley packet filter, linux/bpf_common.h."""
NUMBER, ARCHITECTURE = 0, 4
FIRST_ARGUMENT, SECOND_ARGUMENT, THIRD_ARGUMENT, FOURTH_ARGUMENT = 16, 24, 32, 40
"""Offsets into struct seccomp_data."""
ALLOW, ERROR = 0x7FFF_0000, 0x0005_0000
"""What a filter returns, linux/seccomp.h; an error's number is added to ERROR."""

ARCHITECTURES = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
"""As the kernel's audit names them; a call's numbers below are in this order."""
CLONE = (56, 220)
PRLIMIT = (302, 261)
MMAP = (9, 222)
SHARED_AND_NO_FILES = 0x21
"""MAP_SHARED (a bit of MAP_SHARED_VALIDATE, too) and MAP_ANONYMOUS."""
SOCKETS = ((41, 198), (53, 199))
"""socket and socketpair."""
FAMILIES = (1, 2, 10, 16)
"""AF_UNIX, AF_INET, AF_INET6, AF_NETLINK."""
SETSOCKOPT = (54, 208)
SOL_SOCKET, SO_SNDBUF, SO_RCVBUF = 1, 7, 8
NOT_PERMITTED = {
    "unshare": (272, 97),
    "setns": (308, 268),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_setup": (206, 0),
    "vmsplice": (278, 75),
    "syslog": (103, 116),
}
NOT_THERE = {
    "clone3": (435, 435),  # filters can't read its flags; without it C libraries use clone
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
}
"""Calls that programs know how to do without, where the kernel says that it has none."""
NOT_SUPPORTED = {"setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "setxattrat": (463, 463)}
"""Calls that programs know how to do without, where the kernel says that the file system can't."""


def seccomp_filter() -> bytes | None:
    """The compiled filter for this machine; None for an architecture that isn't in the table."""
    if platform.machine() not in ARCHITECTURES:
        return None
    column = list(ARCHITECTURES).index(platform.machine())
    refused = [(numbers[column], EPERM) for numbers in NOT_PERMITTED.values()]
    refused += [(numbers[column], ENOSYS) for numbers in NOT_THERE.values()]
    refused += [(numbers[column], ENOTSUP) for numbers in NOT_SUPPORTED.values()]
    return b"".join(
        [
            _instruction(LOAD, ARCHITECTURE),
            _instruction(JUMP_IF_EQUAL, ARCHITECTURES[platform.machine()], when_false=0, when_true=1),
            _instruction(RETURN, ERROR + ENOSYS),
            _instruction(LOAD, NUMBER),
            *_refuse(JUMP_IF_AT_LEAST, X32_CALLS, ENOSYS),
            *(part for number, error in refused for part in _refuse(JUMP_IF_EQUAL, number, error)),
            *(part for numbers in SOCKETS for part in _only_families(numbers[column])),
            _instruction(JUMP_IF_EQUAL, SETSOCKOPT[column], when_true=0, when_false=9),
            _instruction(LOAD, SECOND_ARGUMENT),
            _instruction(JUMP_IF_EQUAL, SOL_SOCKET, when_true=1),
            _instruction(RETURN, ALLOW),
            _instruction(LOAD, THIRD_ARGUMENT),
            *_refuse(JUMP_IF_EQUAL, SO_SNDBUF, DONE),
            *_refuse(JUMP_IF_EQUAL, SO_RCVBUF, DONE),
            _instruction(RETURN, ALLOW),
            _instruction(JUMP_IF_EQUAL, MMAP[column], when_true=0, when_false=5),
            _instruction(LOAD, FOURTH_ARGUMENT),
            _instruction(MASK, SHARED_AND_NO_FILES),
            *_refuse(JUMP_IF_EQUAL, SHARED_AND_NO_FILES, EPERM),
            _instruction(RETURN, ALLOW),
            _instruction(JUMP_IF_EQUAL, PRLIMIT[column], when_true=0, when_false=4),
            _instruction(LOAD, FIRST_ARGUMENT),
            _instruction(JUMP_IF_EQUAL, 0, when_true=1),
            _instruction(RETURN, ERROR + EPERM),
            _instruction(RETURN, ALLOW),
            _instruction(JUMP_IF_EQUAL, CLONE[column], when_true=0, when_false=3),
            _instruction(LOAD, FIRST_ARGUMENT),
            *_refuse(JUMP_IF_ANY_BIT, CLONE_NEWUSER, EPERM),
            _instruction(RETURN, ALLOW),
        ]
    )


def _only_families(number: int) -> list[bytes]:
    """A call that makes sockets, where its first argument is one of FAMILIES."""
    judged = [
        _instruction(LOAD, FIRST_ARGUMENT),
        *(_instruction(JUMP_IF_EQUAL, family, when_true=len(FAMILIES) - at) for at, family in enumerate(FAMILIES)),
        _instruction(RETURN, ERROR + EAFNOSUPPORT),
        _instruction(RETURN, ALLOW),
    ]
    return [_instruction(JUMP_IF_EQUAL, number, when_false=len(judged)), *judged]


def _refuse(condition: int, value: int, error: int) -> list[bytes]:
    return [_instruction(condition, value, when_false=1), _instruction(RETURN, ERROR + error)]


def _instruction(code: int, value: int, when_true: int = 0, when_false: int = 0) -> bytes:
    """struct sock_filter; the jumps say how many instructions to skip."""
    return struct.pack("=HBBI", code, when_true, when_false, value)
