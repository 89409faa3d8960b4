"""Disk: checkpoints, run.db, container images."""

from dataclasses import dataclass

from rollin.planning.assumptions import Assumptions
from rollin.planning.findings import GIB, Figure, Finding, Unit, Verdict
from rollin.planning.machine import Machine
from rollin.planning.work import Work
from rollin.recipe import Recipe

GROUP = "disk"


@dataclass(frozen=True)
class Disk:
    """Of one recipe."""

    recipe: Recipe
    checkpoint: float
    """Bytes of the student's weights."""
    pictured: int
    """Tasks that have a container image of their own."""
    work: Work
    machine: Machine
    assumed: Assumptions

    def figures(self) -> list[Figure]:
        """Each kind of file."""
        a, iterations = self.assumed, self.recipe.iterations
        kept = iterations + 1  # while one is written, it lies beside the others
        a_trajectory = a.prompt_tokens + self.work.turns * (2 * a.action_tokens + a.observation_tokens)
        trajectories = sum(map(self.work.trajectories, range(1, iterations + 1)))
        tokens = trajectories * a_trajectory
        rows = [
            ("checkpoints", self.checkpoint * kept, f"{iterations} iterations, and one that is being written"),
            (
                "run.db",
                tokens * a.db_bytes_per_token,
                f"{trajectories:,} trajectories x {a_trajectory:,.0f} tokens x {a.db_bytes_per_token:g} bytes (assumed"
                " db_bytes_per_token)",
            ),
            (
                "images",
                self.pictured * a.image_gib * GIB,
                f"{self.pictured:,} tasks x {a.image_gib:g} GiB (assumed image_gib), if all are kept",
            ),
        ]
        return [Figure(GROUP, name, amount, Unit.BYTES, origin) for name, amount, origin in rows if amount]

    def finding(self, figures: list[Figure]) -> Finding:
        """Whether there is room, where it is known how much there is."""
        wanted = sum(figure.amount for figure in figures)
        if self.machine.disk is None:
            return Finding(
                "disk", Verdict.UNCHECKED, f"{wanted / GIB:,.0f} GiB wanted", "say how much there is: --disk-gb"
            )
        fits = wanted <= self.machine.disk
        cure = "" if fits else "make room, attempt fewer tasks, or remove images between iterations"
        found = f"{wanted / GIB:,.0f} GiB of {self.machine.disk / GIB:,.0f} GiB"
        return Finding("disk", Verdict.FITS if fits else Verdict.SHORT, found, cure)
