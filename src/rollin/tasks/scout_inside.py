"""The half of the scout that runs inside a sandbox: `python scout_inside.py request.json`, beside `probe_inside.py`.

Every test file is run twice in a child of its own: once to see what passes and how long it takes, once more with every
call counted. Prints one line of JSON for each; null where it ran out of time or broke pytest itself.
"""

import json
import os
import resource
import sys
from functools import partial
from pathlib import Path
from types import FrameType

import probe_inside  # type: ignore[import-not-found]
import run_inside  # type: ignore[import-not-found]


def plainly(test_file: str) -> dict[str, object]:
    """What passes and what fails, and the CPU seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    record = run_inside.run_tests([test_file])
    after = resource.getrusage(resource.RUSAGE_SELF)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"passed": record["passed"], "failed": sorted(record["failed"]), "seconds": seconds}


def counting(test_file: str) -> dict[str, object]:
    """What passes, and how many functions of each file of the repository are called."""
    here, called = os.getcwd() + os.sep, set[tuple[str, int]]()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(here) and frame.f_code.co_name[0] != "<":
            called.add((frame.f_code.co_filename.removeprefix(here), frame.f_code.co_firstlineno))

    sys.setprofile(note)
    record = run_inside.run_tests([test_file])
    sys.setprofile(None)
    names = [name for name, _ in called]
    return {"passed": record["passed"], "calls": {name: names.count(name) for name in sorted(set(names))}}


def main() -> None:
    """Answer the request, test file by test file."""
    request = json.loads(Path(sys.argv[1]).read_text())
    run_inside.shorten_accounts()
    sys.path.insert(0, os.getcwd())
    sys.dont_write_bytecode = True
    screen = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    probe_inside.load_plugins()
    for name in request["test_files"]:
        runs = [probe_inside.forked(partial(run, name), request["seconds"]) for run in (plainly, counting)]
        screen.write(b"[%b]\n" % b", ".join(runs))
        screen.flush()


if __name__ == "__main__":
    main()
