"""What one iteration may use of a run's budget: an even share of the whole, and what earlier iterations left."""

from collections.abc import Sequence
from dataclasses import dataclass

from rollin.recipe import Recipe
from rollin.store import Purpose, Store, TrajectoryRow


@dataclass(frozen=True)
class Share:
    """One iteration's. It depends on nothing that was done later, so a resumed run stops at the same place."""

    recipe: Recipe
    store: Store
    iteration: int

    @property
    def bounds_collecting(self) -> bool:
        """Whether the number of tasks is not all that ends collecting."""
        return self.recipe.budget.turns is not None or self.recipe.budget.teacher_tokens is not None

    @property
    def counts_labels(self) -> bool:
        """Whether what labels cost has to be known before it is decided how much more is collected."""
        return self.recipe.budget.teacher_tokens is not None

    def collected(self, rows: Sequence[TrajectoryRow]) -> bool:
        """Whether these trajectories, with those of earlier iterations, are all that may be collected so far."""
        if not self.bounds_collecting:
            return False
        every = self.store.trajectories(purpose=Purpose.COLLECT)
        earlier = [row.id for row in every if row.iteration < self.iteration]
        spent = self.store.spent([*earlier, *(row.id for row in rows)])
        return self.recipe.budget.used_up(spent, self.iteration, self.recipe.iterations)

    @property
    def training_tokens(self) -> int | None:
        """How many tokens of one epoch may be trained on; None where nothing limits them."""
        limit, epochs = self.recipe.budget.training_tokens, self.recipe.training.epochs
        if limit is None:
            return None
        used = sum(row.trained("packed_tokens") for row in self.store.iterations() if row.number < self.iteration)
        return int((limit / epochs - used) / (self.recipe.iterations - self.iteration + 1))
