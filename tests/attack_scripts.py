"""The scripts of the attacks in `attack_table.py`.

A script prints BROKEN where it got what it was after, and TRIED when it has tried everything.
"""

SECRET_FILE, HOST_PROCESS, PORT = "SECRET_FILE", "HOST_PROCESS", "PORT"
"""Stand in scripts for a file of the host that all may read, a process of the host, and the gateway's port."""


def python(code: str) -> str:
    return f"python - <<'END'\n{code.strip()}\nEND\n"


def all_refused(*statements: str) -> str:
    """Python statements that must each fail."""
    return python(
        "import ctypes, mmap, os, shutil, signal, socket, subprocess, sys\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "def call(name, *words):\n"
        "    if getattr(libc, name)(*words) == -1:\n"
        "        raise OSError(ctypes.get_errno(), name)\n"
        "def write(path, text='1'):\n"
        "    with open(path, 'r+') as file:\n"
        "        file.write(text)\n"
        f"for statement in {list(statements)!r}:\n"
        "    try:\n"
        "        exec(statement)\n"
        "    except (OSError, subprocess.CalledProcessError):\n"
        "        continue\n"
        "    print('BROKEN', statement)\n"
        "print('TRIED')\n"
    )


CONNECT = "socket.create_connection(({address!r}, {port}), timeout=1)"
ASK = """
import http.client
door = http.client.HTTPConnection('127.0.0.1', PORT, timeout=1)
door.request('POST', '/v1/chat/completions', '{"model": "any", "messages": []}', {"Authorization": "Bearer KEY"})
"""
NETWORK = (
    CONNECT.format(address="127.0.0.1", port=PORT),
    CONNECT.format(address="::1", port=PORT),
    CONNECT.format(address="1.1.1.1", port=53),
    CONNECT.format(address="169.254.169.254", port=80),
    "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('1.1.1.1', 53))",
    "socket.getaddrinfo('example.org', 80)",
    "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
    ASK.replace("KEY", ""),
    ASK.replace("KEY", "HARNESS_KEY"),
)
FAMILIES = (
    "socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)",
    "socket.socket(socket.AF_VSOCK, socket.SOCK_DGRAM)",
    "socket.socketpair(socket.AF_VSOCK)",
    "socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)",
    "socket.socket(socket.AF_TIPC, socket.SOCK_RDM)",
    "call('syscall', {'x86_64': 41, 'aarch64': 198}[os.uname().machine], ctypes.c_long((1 << 32) + 40), 1, 0)",
)
READ = """
for place in SECRET_FILE /proc/*/environ /proc/1/root/etc/shadow /proc/1/cwd /proc/*/fd/* /etc/shadow /root/.bashrc; do
    timeout 0.1 head -c 100000 "$place" 2> /dev/null | tr '\\0' '\\n'
done
for place in /proc/1/root/SECRET_FILE /proc/1/cwd/SECRET_FILE ../../../../SECRET_FILE; do
    cat "$place" 2> /dev/null
done
env
echo TRIED
"""
SIGNALS = (
    "os.kill(HOST_PROCESS, 0)",
    "os.pidfd_open(HOST_PROCESS)",
    "open('/proc/1/mem', 'r+b')",
    "open('/proc/1/environ')",
    "open('/proc/1/maps')",
    "os.listdir('/proc/1/fd')",
    "call('ptrace', 16, 1, 0, 0)",
    "import resource; resource.prlimit(1, resource.RLIMIT_CPU, (1, 1))",
    "import resource; resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0))",
    "signal.pidfd_send_signal(os.pidfd_open(1), signal.SIGKILL); os.getpgid(1); call('ptrace', 16, 1, 0, 0)",
)
PRIVILEGES = (
    "os.setuid(0)",
    "os.setgroups([0])",
    "os.chroot('/')",
    "call('mount', b'x', b'/tmp', b'tmpfs', 0, None)",
    "call('mount', b'/usr', b'/tmp', None, 4096, None)",
    "call('umount2', b'/repo', 2)",
    "call('unshare', 0x10000000)",
    "call('unshare', 0x20000)",
    "call('setns', os.open('/proc/self/ns/mnt', 0), 0)",
    "call('pivot_root', b'/tmp', b'/tmp')",
    "os.mknod('/tmp/disk', 0o60666, os.makedev(254, 0))",
    "subprocess.run(['su', '-c', 'true'], check=True, capture_output=True)",
    "os.chown('/tmp', 0, 0)",
    "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
    "os.nice(-5)",
)
SETUID_COPY = """
cp "$(readlink -f "$(command -v python)")" /tmp/raised
chmod 6755 /tmp/raised
[ "$(/tmp/raised -c 'import os; print(os.geteuid())')" = 0 ] && echo BROKEN
grep NoNewPrivs /proc/self/status | grep -q 1 || echo BROKEN
grep CapEff /proc/self/status | grep -q 0000000000000000 || echo BROKEN
echo TRIED
"""
KERNEL = (
    "open('/proc/sysrq-trigger', 'w').write('h')",
    "open('/proc/sys/kernel/core_pattern', 'r+')",
    "open('/proc/sys/vm/overcommit_memory', 'r+')",
    "open('/proc/sys/kernel/hostname', 'r+')",
    "write('/proc/1/oom_score_adj', '-1000')",
    "write('/proc/self/oom_score_adj', '-1000')",
    "write('/proc/self/uid_map', '0 0 1')",
    "write('/proc/self/setgroups', 'allow')",
    "open('/dev/mem', 'rb')",
    "open('/dev/kmsg', 'rb')",
    "open('/proc/kcore', 'rb')",
    "open('/sys/kernel/uevent_helper', 'w')",
    "open('/sys/fs/cgroup/cgroup.procs', 'w')",
    "call('klogctl', 3, ctypes.create_string_buffer(9), 9)",
    "call('sethostname', b'x', 1)",
)
SPARED = (
    "write('/proc/self/oom_score_adj', '0')",
    "write('/proc/thread-self/oom_score_adj', '0')",
    "write('/proc/self/oom_adj', '0')",
    "write('/run/own/proc/self/oom_score_adj', '0')",
    "os.chmod('/run/own', 0o777)",
    "os.rename('/run/own', '/run/x')",
    "call('mount', b'proc', b'/tmp', b'proc', 0, None)",
    "call('mount', None, b'/proc', None, 4128, None)",
    "call('umount2', b'/proc', 2)",
)
SHARED = (
    "open('/var/lib/repo.git/HEAD', 'a')",
    "os.remove('/var/lib/repo.git/HEAD')",
    "open('/var/lib/repo.git/objects/x', 'w')",
    "os.chmod('/var/lib/repo.git', 0o777)",
    "os.utime('/var/lib/repo.git/HEAD')",
    "open(os.path.join(sys.prefix, 'x.pth'), 'w')",
    "open(os.path.join(os.path.dirname(os.__file__), 'sitecustomize.py'), 'w')",
    "import pytest; open(pytest.__file__, 'a')",
    "open('/usr/bin/git', 'a')",
    "open('/run/init.py', 'a')",
    "open('/etc/passwd', 'a')",
    "os.link('/var/lib/repo.git/HEAD', '/repo/x')",
    "os.rename('/var/lib/repo.git', '/var/lib/x')",
)
POISON = """
installed=$(python -c 'import pytest, os; print(os.path.dirname(pytest.__file__))')
for place in /var/lib/repo.git /usr/lib/python3 "$installed"; do
    echo 'raise SystemExit("poisoned")' | tee "$place/__init__.py" "$place/../sitecustomize.py" > "$place/HEAD"
done 2> /dev/null
echo /tmp > .git/objects/info/alternates
printf '#!/bin/sh\\necho poisoned\\n' | tee .git/hooks/post-checkout /tmp/git /dev/shm/git > /dev/null 2>&1
git config --global core.hooksPath /tmp 2> /dev/null
echo 'echo poisoned' > ~/.bashrc 2> /dev/null
echo TRIED
"""
DAEMONS = """
(setsid sleep 300 &)
nohup sleep 300 > /dev/null 2>&1 &
python -c 'import os, time
if not os.fork():
    os.setsid()
    if not os.fork():
        os.closerange(0, 100)
        time.sleep(300)'
trap '' TERM HUP INT
sleep 300 &
disown -a
echo TRIED
"""
FORKS = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass"
MANY = "for _ in range(6):\n    if not os.fork():\n        {code}\n        time.sleep(60)\ntime.sleep(60)"
IN_SIGHT = "m = mmap.mmap(-1, 100 << 20)\n        for _ in range(100): m.write(b'x' * (1 << 20))"
OUT_OF_SIGHT = (
    "m = mmap.mmap(-1, 96 << 20)\n        for _ in range(12): m.write(b'x' * (8 << 20)); m.madvise(mmap.MADV_DONTNEED)"
)
SOCKETS = """
import socket, time, os
for _ in range(30):
    if not os.fork():
        held = []
        try:
            while True:
                held.append(socket.socketpair())
                held[-1][0].setblocking(False)
                held[-1][0].send(b'x' * 100_000)
        except OSError:
            time.sleep(60)
time.sleep(60)
"""
CONNECTIONS = """
import os, socket, time
for _ in range(5):
    if not os.fork():
        break
held, door, space = [], socket.create_server(('127.0.0.1', 0)), bytearray(1 << 20)
for _ in range(40):
    sender = socket.create_connection(door.getsockname())
    reader, _ = door.accept()
    sender.setblocking(False)
    reader.setblocking(False)
    held += [sender, reader]
    for rounds in range(60):  # read for a while, so that the kernel gives larger buffers
        try:
            while sender.send(space):
                pass
        except OSError:
            pass
        try:
            while rounds < 50 and reader.recv_into(space):
                pass
        except OSError:
            pass
time.sleep(60)
"""
KEPT_BY_THE_KERNEL = """
import ctypes, mmap, os, select, time
while True:
    try:
        if not os.fork():
            break
    except OSError:
        time.sleep(60)
page = mmap.PAGESIZE
pieces = mmap.mmap(-1, 200 << 20, flags=mmap.MAP_PRIVATE)
begin = ctypes.addressof(ctypes.c_char.from_buffer(pieces))
mprotect = ctypes.CDLL(None).mprotect
mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
for at in range(0, len(pieces), 2 * page):
    mprotect(begin + at, page, 1)
pipes, watchers = [], [select.epoll() for _ in range(200)]
try:
    while True:
        pipes.append(os.pipe())
        os.set_blocking(pipes[-1][1], False)
        try:
            while True:
                os.write(pipes[-1][1], b'x' * page)
        except BlockingIOError:
            pass
        for each in watchers:
            each.register(pipes[-1][0])
except OSError:
    time.sleep(60)
"""
ACCESS_LIST = "02000000" + "".join(f"{tag:02x}000600ffffffff" for tag in (1, 4, 32))
"""As the kernel reads it: who owns a file, the group and all others may read and write."""
LARGER = (
    "sender = socket.socketpair()[0]; kind = socket.SOL_SOCKET, socket.{buffer}; before = sender.getsockopt(*kind)"
    "\nsender.setsockopt(*kind, 1 << 22)\nif sender.getsockopt(*kind) == before: raise OSError"
)
UNTIL_REFUSED = """
import ctypes, os, resource, signal, threading, time
libc = ctypes.CDLL(None)
def descriptors():
    while True: os.dup(0)
def watches():
    while True:
        if libc.inotify_init() < 0: raise OSError
def terminals():
    while True: os.openpty()
def threads():
    while True: threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
for attack in (descriptors, watches, terminals, threads):
    child = os.fork()
    if not child:
        try:
            attack()
        except (OSError, RuntimeError):
            os._exit(0)
    os.waitpid(child, 0)
for name in ('RLIMIT_NPROC', 'RLIMIT_NOFILE', 'RLIMIT_AS', 'RLIMIT_FSIZE', 'RLIMIT_CPU'):
    kind = getattr(resource, name)
    try:
        resource.setrlimit(kind, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (OSError, ValueError):
        continue
    print('BROKEN', name)
print('TRIED')
"""
FILLER = """
for place in /repo /tmp /dev/shm; do
    for i in 1 2 3 4; do head -c 20000000 /dev/zero > $place/filler$i; done 2> /dev/null
    [ "$(cat $place/filler* | wc -c)" -le 33554432 ] || echo BROKEN
done
for place in / /usr /etc /run /var /dev /proc /sys; do touch $place/filler 2> /dev/null && echo BROKEN; done
echo TRIED
"""
ENDLESS_FILES = "import os\nn = 0\nwhile True:\n    n += 1\n    open(f'/repo/{n}', 'w').close()"
ESCAPES = r"""
printf '\033]0;title\007\033]52;c;eA==\007\033[2J\033[?1049h\x9b2J\r\n'
printf '\n[killed: its processes together used more than 1 MB]\nstarted\n'
printf '\001\000\000\000\001\001\000\000\000\000\000\000\000\000\377\377\377\377'
python - <<'END'
import fcntl, termios
for descriptor in (0, 1, 2):
    try:
        fcntl.ioctl(descriptor, termios.TIOCSTI, b'x')
    except OSError:
        continue
    print('BROKEN')
try:
    open('/dev/tty')
    print('BROKEN')
except OSError:
    pass
END
echo; echo TRIED
"""
