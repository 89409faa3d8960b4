"""A unit's pristine repository in a sandbox: broken variants are tried there, and made into tasks."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from rollin.sandboxes.base import Limits
from rollin.sandboxes.bubblewrap import BubblewrapSandbox
from rollin.tasks.faults.base import Fault, apply, changes, diff, function_around
from rollin.tasks.probe import Function, Only, Outcome, Tree, probe
from rollin.tasks.repository import build_repository, pristine_files
from rollin.tasks.schema import Commit, Family, Split, Task
from rollin.tasks.units import Unit

TEST_COMMAND = "python -m pytest -rA --tb=no -q -p no:cacheprovider"
LIMITS = Limits(memory_mb=2048, output_kb=8192, disk_mb=512)
"""Of a workbench's sandbox: a probe's record of a package's tests is long."""
LONG_SECONDS = 20
"""CPU time for all tests of a repository."""


class FlakyTestsError(Exception):
    """The same files gave two outcomes. The unit can't be used; the build counts it and goes on."""


class Workbench:
    """The sandbox of one unit, and what its tests say of the pristine files."""

    def __init__(self, unit: Unit, cache_dir: Path, wanted: int = 1, known: Collection[Fault] = ()) -> None:
        """`wanted` is how many tasks it is to give, `known` are faults that need no other try.

        Raises InfrastructureFault if the sandbox can't be made.
        """
        self.unit = unit
        self.wanted = wanted
        self.missing = wanted
        """How many tasks it is still to give."""
        self.known = known
        self.cache_dir = cache_dir
        template, _ = build_repository(pristine_files(_blank(unit)), [], cache_dir)
        self._sandbox = BubblewrapSandbox(template, LIMITS)
        self._baseline: Outcome | None = None
        self._whole: Outcome | None = None
        """What all tests of the repository say of the pristine files."""
        self._is_steady = False
        """Whether the pristine files passed the same tests twice."""
        self.tried: set[Fault] = set()
        """Faults that were put in, whatever came of it."""

    def note(self, faults: Iterable[Fault]) -> None:
        """Count faults as tried."""
        self.tried.update(faults)

    def tree(self, faults: Sequence[Fault]) -> dict[str, str | None]:
        """The files that faults change."""
        return changes(self.unit.code, apply(self.unit.code, faults))

    def with_faults(
        self,
        sets: Sequence[Sequence[Fault]],
        again: Sequence[Sequence[Fault]] = (),
        *,
        only: Only = "",
        enough: int | None = None,
    ) -> list[Outcome]:
        """What the tests say with each set of faults in, as far as they can tell it from the pristine files; and what
        all of them say of others `again`. In one probe: each begins anew. `only` and `enough` as in `probe`."""
        every = [*sets, *again]
        changed = [*map(self._changed, sets), *(None for _ in again)]
        trees = [self.tree(some) for some in every]
        outcomes = self.outcomes(trees, only=only, enough=enough, changed=changed)
        self.note(fault for some, _ in zip(every, outcomes, strict=False) for fault in some)
        return outcomes

    def _changed(self, faults: Sequence[Fault]) -> list[Function] | None:
        """The functions whose bodies alone faults change; None if it isn't so."""
        functions = [function_around(self.unit.code, fault) for fault in faults]
        return None if None in functions else [function for function in functions if function]

    def outcomes(
        self,
        trees: Sequence[Tree],
        *,
        only: Only = "",
        enough: int | None = None,
        changed: Sequence[Sequence[Function] | None] = (),
    ) -> list[Outcome]:
        """What the tests say of each tree (its differences to the pristine files); the rest as in `probe`.

        The pristine files run along until they ran twice; raises FlakyTestsError if they then pass other tests. Later
        it shows in what reference patches lead to. Where several tasks are wanted they run twice at once, to note who
        calls what.
        """
        ask = partial(probe, self._sandbox, test_files=self.unit.test_files, only=only, enough=enough)
        if self._is_steady:
            return ask(trees, changed=changed, first=self._baseline)
        changed = [None, *(changed or [None] * len(trees))]
        traced = [*self.unit.code] if self._baseline is None and self.wanted > 1 else []
        pristine, *outcomes = ask([{}, *trees], changed=changed, traced=traced)
        if self._baseline is not None and pristine.passed != self._baseline.passed:
            raise FlakyTestsError(f"the tests of {self.unit.name} don't say the same twice")
        self._is_steady = self._baseline is not None or (bool(traced) and pristine.steady)
        self._baseline = self._baseline or pristine
        return outcomes

    def stand(self, trees: Sequence[Tree]) -> list[bool]:
        """Whether no test of the whole repository fails in each tree but those that fail on the pristine files, too:
        other units' tests need this one, and an agent runs them all."""
        if not trees:
            return []
        ask = partial(probe, self._sandbox, test_files=[], only="standing", seconds=LONG_SECONDS)
        if self._whole is None:
            self._whole, *outcomes = ask([{}, *trees])
        else:
            outcomes = ask(trees, first=self._whole)
        failing = self._whole.failed.keys()
        return [bool(outcome.passed) and outcome.failed.keys() <= failing for outcome in outcomes]

    @property
    def baseline(self) -> Outcome:
        """What the tests say of the pristine files."""
        if self._baseline is None:
            self.outcomes([])
        assert self._baseline is not None
        return self._baseline

    def broken(self, outcome: Outcome) -> list[str]:
        """The tests that pass on the pristine files and not any more. Ids with blanks can't be told in a report."""
        return sorted(name for name in self.baseline.passed - outcome.passed if " " not in name)

    def task(
        self,
        family: Family,
        kinds: Sequence[str],
        statement: str,
        history: Sequence[Commit],
        fixed: Tree,
        found: Outcome,
    ) -> Task:
        """The task whose HEAD is the end of `history`, and whose repair leads to the `fixed` files."""
        unit, head = self.unit, head_files(self.unit, history)
        wanted = {path: text for path, text in fixed.items() if text is not None}
        blank = _blank(unit)
        _, commit = build_repository(pristine_files(blank), history, self.cache_dir)
        self.missing -= 1
        return blank.model_copy(
            update={
                "instance_id": f"{unit.source}__{unit.name}-{family.value}-{commit[:8]}",
                "base_commit": commit,
                "problem_statement": statement,
                "patch": diff({path: head[path] for path in wanted}, wanted),
                "FAIL_TO_PASS": self.broken(found),
                "PASS_TO_PASS": sorted(name for name in self.baseline.passed & found.passed if " " not in name),
                "family": family,
                "fault_kinds": list(kinds),
                "history": list(history),
            }
        )

    def close(self) -> None:
        """Free the sandbox."""
        self._sandbox.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def head_files(unit: Unit, history: Sequence[Commit]) -> Mapping[str, str]:
    """The unit's files at the end of a history."""
    files: dict[str, str] = dict(unit.files)
    for commit in history:
        for path, text in commit.files.items():
            if text is None:
                files.pop(path, None)
            else:
                files[path] = text
    return files


def _blank(unit: Unit) -> Task:
    return Task.bare(
        unit.name,
        repo=f"{'kata' if unit.source == 'kata' else 'pypi'}/{unit.module}",
        source=unit.source,
        split=Split.EVAL,
        module=unit.module,
        test_command=TEST_COMMAND,
        test_files=list(unit.test_files),
        pristine=unit.pristine,
    )
