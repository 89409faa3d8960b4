"""The system calls that a sandbox refuses, as a seccomp filter.

A command needs no user namespace of its own. With one it could mount a tmpfs of any size and so pass the limit of
disk, which is held in memory. The others are refused because programs rarely need them and kernels had faults there.
"""

import platform
import struct

EPERM, ENOSYS = 1, 38
CLONE_NEWUSER = 0x1000_0000
X32_CALLS = 0x4000_0000
"""Bit of x86-64's second table of system calls, which would be a way around this one."""

LOAD, JUMP_IF_EQUAL, JUMP_IF_AT_LEAST, JUMP_IF_ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
"""Instructions of the classic Berkeley packet filter, linux/bpf_common.h."""
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16
"""Offsets into struct seccomp_data."""
ALLOW, ERROR = 0x7FFF_0000, 0x0005_0000
"""What a filter returns, linux/seccomp.h; an error's number is added to ERROR."""

CALLS = {
    # audit architecture, clone, then: unshare, setns, keyctl, add_key, request_key, bpf, perf_event_open, userfaultfd
    "x86_64": (0xC000_003E, 56, (272, 308, 250, 248, 249, 321, 298, 323)),
    "aarch64": (0xC000_00B7, 220, (97, 268, 219, 217, 218, 280, 241, 282)),
}
CLONE3, IO_URING_SETUP = 435, 425
"""The same on every architecture. Filters can't read clone3's flags; without it C libraries use clone."""


def seccomp_filter() -> bytes | None:
    """The compiled filter for this machine; None for an architecture that isn't in the table."""
    if platform.machine() not in CALLS:
        return None
    architecture, clone, refused = CALLS[platform.machine()]
    return b"".join(
        [
            _instruction(LOAD, ARCHITECTURE),
            _instruction(JUMP_IF_EQUAL, architecture, when_false=0, when_true=1),
            _instruction(RETURN, ERROR + ENOSYS),
            _instruction(LOAD, NUMBER),
            *_refuse(JUMP_IF_AT_LEAST, X32_CALLS, ENOSYS),
            *_refuse(JUMP_IF_EQUAL, CLONE3, ENOSYS),
            *(part for number in (*refused, IO_URING_SETUP) for part in _refuse(JUMP_IF_EQUAL, number, EPERM)),
            _instruction(JUMP_IF_EQUAL, clone, when_true=0, when_false=3),
            _instruction(LOAD, FIRST_ARGUMENT),
            *_refuse(JUMP_IF_ANY_BIT, CLONE_NEWUSER, EPERM),
            _instruction(RETURN, ALLOW),
        ]
    )


def _refuse(condition: int, value: int, error: int) -> list[bytes]:
    return [_instruction(condition, value, when_false=1), _instruction(RETURN, ERROR + error)]


def _instruction(code: int, value: int, when_true: int = 0, when_false: int = 0) -> bytes:
    """struct sock_filter; the jumps say how many instructions to skip."""
    return struct.pack("=HBBI", code, when_true, when_false, value)
