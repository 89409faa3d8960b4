"""The patch that an agent's work amounts to, read from its files alone."""

import base64
import contextlib
import re
import shlex

from rollin.errors import InfrastructureFault
from rollin.sandboxes.base import TEMPLATE, Sandbox

LARGEST = 16 << 20
"""Bytes. A larger patch is no fix of source code (a core dump, a data file) and counts as none."""
JUNK = ("__pycache__/", "*.pyc", ".pytest_cache/", "*.orig", "*.rej")
"""Untracked files that are never part of a patch."""
SECONDS = 300.0
"""Far more than git takes for what a sandbox may hold, on a machine that is busy: what takes longer hangs by the
agent's own doing, and is no patch."""
PIECE = 30_000
"""Bytes fetched by one command, if what it may print allows it."""

FULL = "No space left on device|Out of diskspace"
"""What git says where there is no room."""
UNREAD = 28
"""The exit status where the base commit alone could not be looked at."""

SIZE = re.compile(r"(\d{1,12}) (/tmp/patch\.\w+)/patch\s*\Z")
"""What `DIFFERENCE` prints at last."""

DIFFERENCE = f"""
chmod -Rf u+rwX /tmp /dev/shm
find /tmp /dev/shm -xdev -mindepth 1 -delete 2> /dev/null
export LC_ALL=C GIT_CONFIG_GLOBAL=/dev/null
read -r base < TEMPLATE/refs/heads/main || exit 1
GIT_DIR=$(mktemp -d /tmp/patch.XXXXXX) && git init --quiet --bare --template= "$GIT_DIR" || exit {UNREAD}
export GIT_DIR GIT_WORK_TREE=$PWD GIT_INDEX_FILE=$GIT_DIR/index
mkdir -p $GIT_DIR/info
printf '%s\\n' JUNK > $GIT_DIR/info/exclude
echo 'ATTRIBUTES' > $GIT_DIR/info/attributes
ls -d TEMPLATE/objects $PWD/.git/objects > $GIT_DIR/objects/info/alternates
find . -name .git -prune -o -name '.git*' -type p -exec rm -f {{}} +
git read-tree $base && git update-index -q --refresh || exit {UNREAD}
touch -t 209901010000 $GIT_INDEX_FILE
git add --all --ignore-errors . 2>&1 | grep -qE '{FULL}' && exit 1
git diff --cached --binary --no-color --no-ext-diff --no-renames --ignore-submodules $base > $GIT_DIR/patch || exit 1
echo
wc -c $GIT_DIR/patch
"""
"""The work is over: what lies outside the repository goes, lest it take the room that git wants. Then git looks at the
files that the base commit has, and writes a copy of those alone that are changed: an index from a later day keeps it
from copying files too that are as young as the index. A pipe that is called .gitignore would have git wait for ever.
Half a patch, on a disk that is full, is none."""


def extract_patch(sandbox: Sandbox) -> str:
    """All that the working tree changes against the commit that the agent started from, as a diff that `git apply`
    takes; "" for nothing.

    It makes an index of its own, so the state of the agent's repository doesn't matter: a detached head, a
    half-finished revert, a broken index, no .git at all. InfrastructureFault if the sandbox failed by itself, or has no
    room even for a look at the base commit; if what the agent left has no room, that is its own doing, and no patch.
    In a container the agent can put its own programs in the place of those that are asked: what they say that can't be
    read is no patch either.
    """
    for attributes in ("", "* -diff"):  # a text file in another encoding: told that all is binary, git writes ASCII
        with contextlib.suppress(UnicodeDecodeError):
            return _difference(sandbox, attributes).decode()
    return ""


def _difference(sandbox: Sandbox, attributes: str) -> bytes:
    script = DIFFERENCE.replace("JUNK", shlex.join(JUNK)).replace("ATTRIBUTES", attributes)
    outcome = sandbox.run(script.replace("TEMPLATE", TEMPLATE), seconds=SECONDS)
    if outcome.returncode == UNREAD and re.search(FULL, outcome.output):
        raise InfrastructureFault("the sandbox has no room to look for a patch in it: raise sandbox.disk_mb")
    if outcome.returncode != 0:  # the agent left a working tree that git can't read: there is no patch in it
        return b""
    found = SIZE.search(outcome.output)
    if found is None or int(found[1]) > LARGEST:
        return b""
    patch = _read(sandbox, f"{found[2]}/patch", int(found[1]))
    sandbox.run(f"rm -rf {found[2]}")
    return patch


def _read(sandbox: Sandbox, path: str, size: int) -> bytes:
    """A file of the sandbox, in pieces that fit into what one command may print; b"" where a piece is not what was
    asked for."""
    content, piece = b"", PIECE
    while len(content) < size:
        command = f"tail -c +{len(content) + 1} {path} | head -c {piece} | base64 --wrap=0"
        outcome = sandbox.run(command, seconds=SECONDS)
        if outcome.truncated and piece > 1:
            piece //= 2
            continue
        read = _decoded(outcome.output)
        if len(read) != min(piece, size - len(content)):
            return b""
        content += read
    return content


def _decoded(printed: str) -> bytes:
    try:
        return base64.b64decode(printed)
    except ValueError:
        return b""
