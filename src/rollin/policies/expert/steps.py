"""The expert's few phrases: each situation has one thought and one command, always the same."""

import re
from dataclasses import dataclass

SUBMIT = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
TEST = "python -m pytest"
THEN_TEST = f"; {TEST}"
DIFF = "git diff main -U0 --no-renames | grep '^[-+]' | head -n 20"
"""All changes of the work tree: staged or not, and on whichever commit it stands."""
EVERY_FILE = "$(git ls-files)"
"""A misspelled word stands once; nobody has to say where."""
LIKE = "/tmp/like"
"""Where the last look for similar words leaves what it printed."""
UNDO = "git checkout -q main "
BASE = "git checkout -qf main; git reset -q --hard $(head -n 1 .git/logs/refs/heads/main | cut -c 1-40); git clean -fdq"
"""Back to the base commit from anywhere. The first line of main's log names the commit from which main first moved."""
START = "git bisect start main $(git rev-list --max-parents=0 main)"
REVERT = (
    "git checkout -q main; git revert --no-edit bisect/bad 2>&1 | grep CONFLICT"
    " && git revert --abort && git show bisect/bad | git apply -R -C0"
)
"""When a bisect is over, bisect/bad names the culprit. Where revert refuses to merge, only the lines that the culprit
changed are taken back, whatever stands around them now. One command for both: conflicts are too rare for a small
student to learn one of their own."""
SHOW = "git checkout -qf main; git show -U0 --format=%h bisect/bad"


@dataclass(frozen=True)
class Step:
    """One action: a thought of a few words, and the command."""

    thought: str
    command: str
    mends: bool = False
    """Whether it is about damage that was done."""

    def __str__(self) -> str:
        return f"{self.thought}\n```bash\n{self.command}\n```"


FINISH = Step("All tests pass. Submit.", SUBMIT)
SEE_CHANGES = Step("See what was changed.", DIFF, mends=True)
START_OVER = Step("That went wrong. Start over.", BASE, mends=True)
LIST_TESTS = Step("All tests take too long. Which files are there?", "git ls-files '*test*.py'")
SHOW_CULPRIT = Step("That was not enough. See what that commit changed.", SHOW)


def undo(paths: list[str]) -> Step:
    """Put files back as they are on main."""
    return Step("That change was wrong. Undo it.", UNDO + " ".join(paths), mends=True)


def show_tests(file: str = "") -> str:
    """Shows the last frames of the last failure and the verdict; the harness tells pytest to be brief."""
    return f"{TEST}{file and ' ' + file} | tail -n 6"


def run_tests(file: str = "") -> Step:
    return Step("Run the tests.", show_tests(file))


def reproduce(file: str = "") -> Step:
    """Where the report says that it used to work: a thought that the later turns have before their eyes."""
    return Step("Some commit broke it. Run the tests.", show_tests(file))


def check_repair(file: str = "") -> Step:
    return Step("Check the repair.", show_tests(file))


def and_check(repair: str, file: str = "") -> str:
    """A repair and its check in one command: one turn instead of two."""
    return f"{repair}{THEN_TEST}{show_tests(file).removeprefix(TEST)}"


def revert(file: str = "") -> Step:
    return Step("The first bad commit is found. Revert it.", and_check(REVERT, file))


def _verdict(file: str) -> str:
    return f"{TEST}{file and ' ' + file} | tail -n 1"


def start_bisect(file: str = "") -> Step:
    return Step("Which commit broke it? Bisect.", f"{START} | head -n 1; {_verdict(file)}")


def try_commit(file: str = "") -> Step:
    return Step("Test this commit.", _verdict(file))


def good(file: str = "") -> Step:
    return Step("Passed: this commit is good.", f"git bisect good | head -n 1; {_verdict(file)}")


def bad(file: str = "") -> Step:
    return Step("Failed: this commit is bad.", f"git bisect bad | head -n 1; {_verdict(file)}")


_ASK = "git grep -ohI '\\w\\+' | python -c \"import difflib,sys;x='"
_PRINT = (
    "';w=open(0).read().split();print(*['import',x]*(x in sys.stdlib_module_names)"
    f' or sorted(difflib.get_close_matches(x,{{*w}},2),key=w.count))" | tee {LIKE}'
)
_SIMILAR = re.compile(rf"{re.escape(_ASK)}\w+{re.escape(_PRINT)}")


def similar(word: str) -> str:
    """Prints the two words of the repository that are most like a word, itself included, the rarer one first: that is
    the misspelled one. A module of the standard library is not misspelled, nobody imported it: prints how to.

    Nobody has to say in which file: a key may be misspelled in another one than the one that fails.
    """
    return f"{_ASK}{word}{_PRINT}"


def is_similar(command: str) -> bool:
    """Whether it is a look for similar words."""
    return _SIMILAR.fullmatch(command) is not None


_READ = r"""o = s[n]
for i in range(len(o)):
  for r in [o[:i] + c + o[i:] for c in ":'\")]}"] + [" " * i + o.lstrip()][i % 4:]:
    s[n] = r
    try: compile("".join(s), "", "exec")
    except SyntaxError as e:
      if e.lineno < n + 2: continue
    print(r[:i + 1].strip(), "#", i)
    open(f"/tmp/{i}", "w").writelines(s)
E"""
_TRIES = re.compile(r"python -Wi - <<'E'\nn, s = (\d+), \[\"\", \*open\(\"\./(\S+)\"\)\]\n" + re.escape(_READ))
_CALLS = re.compile(
    r"for i in 1 2 3 4; do sed \"(\d+)s/\)/,\s*\w+\)/\$i\" \./(\S+)"
    r" \| tee /tmp/\$i \| sed -n \"\1s/\$/ # \$i/p\"; done"
)


def readings(path: str, number: int) -> str:
    """Tries every closing sign, and a colon, at each place of a line, and every indentation. Where Python then reads
    the line it prints it as far as what is new goes, the place behind it, and leaves the whole file in /tmp/<place>. So
    the number follows what sets the reading apart. (Where Python reads two signs at one place, the later one is left: a
    bracket.)"""
    return f'python -Wi - <<\'E\'\nn, s = {number}, ["", *open("./{path}")]\n{_READ}'


def arguments(path: str, number: int, text: str) -> str:
    """Tries an argument at the end of each call on a line, and shows and leaves them all by the number of the bracket
    that they stand before."""
    tried = f'sed "{number}s/)/{text})/$i" ./{path}'
    return f'for i in 1 2 3 4; do {tried} | tee /tmp/$i | sed -n "{number}s/$/ # $i/p"; done'


def readings_of(command: str) -> tuple[str, int] | None:
    """Of which line a command tries readings: its file and number; None for any other command."""
    found = _TRIES.fullmatch(command) or _CALLS.fullmatch(command)
    return (found[2], int(found[1])) if found else None


PICK = "cp /tmp/"


def pick(place: int, path: str) -> str:
    """Takes one of the readings that the last try left."""
    return f"{PICK}{place} ./{path}"


def taken(path: str, number: int, place: int) -> str:
    """The same as the expert compares it with a repair: what was taken of which line. Nobody runs it."""
    return f"sed -i '{number} {place}' ./{path}"


def exchange_word(wrong: str, right: str) -> str:
    """Exchanges a word wherever it stands."""
    return rf"sed -i 's/\<{wrong}\>/{right}/' {EVERY_FILE}"


_TOP = "^(import|from [^_]|def|class|@)"
"""The first line of a module that an import can stand above: none of its docstring's, none from __future__."""


def put_first(line: str, path: str) -> str:
    """Puts an import above a file's other imports, or above its first definition."""
    return rf"sed -i -E '0,/{_TOP}/s//{line}\n&/' ./{path}"


def comes_first(text: str, word: str) -> bool:
    """Whether a line that is put first comes above the module's first assignment that has a word; nothing is put first
    where there is neither an import nor a definition."""
    lines = text.split("\n")
    top = next((number for number, line in enumerate(lines) if re.match(_TOP, line)), None)
    used = (re.match(r"\w+(: [^=]+)? = ", line) and re.search(rf"\b{word}\b", line) for line in lines[:top])
    return top is not None and not any(used)


EXCHANGE = rf'read a b <{LIKE}; sed -i "s/\<$a\>/$b/" {EVERY_FILE}'
"""Exchanges the words that the last look found. It reads them there: a small student misspells what it has to copy."""
PUT_FIRST = rf'sed -i -E "0,/{_TOP}/s//$(cat {LIKE})\n&/" ./'
"""Puts what the last look printed, an import, at the top of the file whose name follows."""


def in_full(command: str, similar_words: str) -> str:
    """A command that takes its words from the last look, with these words in it; any other command as it is."""
    words = similar_words.split()
    if len(words) == 2 and command == EXCHANGE:
        return exchange_word(*words)
    if words[:1] == ["import"] and command.startswith(PUT_FIRST):
        return put_first(similar_words, command.removeprefix(PUT_FIRST))
    return command


def in_short(command: str, similar_words: str) -> str:
    """The reverse of `in_full`."""
    path = command.rpartition(" ./")[2]
    return next((short for short in (EXCHANGE, PUT_FIRST + path) if in_full(short, similar_words) == command), command)
