"""Two trained students on the same held-out tasks, one by DAgger, one from the teacher's own states:

python benchmarks/covariate_shift.py DAGGER,... TEACHER_ONLY,...

Each is one run or several with commas between them (seeds, in the same order), evaluated with `evaluation.labels=true`
(`rollin run` or `rollin eval`). Prints both resolve rates, how often each does what the teacher would do in the states
that it reached itself, and the paired differences with their bootstrap intervals over tasks (and seeds).
"""

import sys
from pathlib import Path

from rollin.evaluation.paired import difference
from rollin.evaluation.rate import Rate
from rollin.report.measures import Tally
from rollin.store import Exit, Purpose, Store

Values = dict[tuple[int, str], float]


def read(runs: str) -> tuple[Rate, Tally, Values, Values]:
    """(resolve rate, turns compared; by seed and task: resolved or not, the share of turns like the teacher's)."""
    rows, total = [], Tally()
    resolved, alike = Values(), Values()
    for number, run in enumerate(runs.split(",")):
        with Store.read(Path(run) / "run.db") as store:
            last = max(row.iteration for row in store.trajectories(purpose=Purpose.EVAL))
            for row in store.trajectories(iteration=last, purpose=Purpose.EVAL):
                rows.append(row)
                if row.resolved is None or row.exit is Exit.INFRASTRUCTURE_FAULT:
                    continue
                tally = Tally()
                for turn in store.turns(row.id):
                    tally.add(turn)
                    total.add(turn)
                resolved[number, row.instance_id] = float(row.resolved)
                if tally.agreement is not None:
                    alike[number, row.instance_id] = tally.agreement
    return Rate.of(rows), total, resolved, alike


def main() -> None:
    dagger, teacher_only = map(read, sys.argv[1:3])
    for name, (rate, tally, _, _) in (("DAgger", dagger), ("teacher's states only", teacher_only)):
        print(f"{name:22} resolved {rate}; like the teacher at {tally.agreeing} of {tally.compared} turns")
    print(f"resolve rate, difference in points:       {difference(dagger[2], teacher_only[2])}")
    if dagger[3] and teacher_only[3]:
        print(f"turns like the teacher's, by task, points: {difference(dagger[3], teacher_only[3])}")


if __name__ == "__main__":
    main()
