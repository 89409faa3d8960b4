"""The store: `run.db`, one SQLite file in which everything that a run did is committed as it happens."""

from rollin.store.rows import (
    STUDENT,
    EvaluationRow,
    Exit,
    IterationRow,
    Label,
    LabelSource,
    LabelStatus,
    Phase,
    Purpose,
    Spent,
    TrajectoryRow,
    TurnRow,
)
from rollin.store.states import State
from rollin.store.store import DATABASE, Store, database_of

__all__ = [
    "DATABASE",
    "STUDENT",
    "EvaluationRow",
    "Exit",
    "IterationRow",
    "Label",
    "LabelSource",
    "LabelStatus",
    "Phase",
    "Purpose",
    "Spent",
    "State",
    "Store",
    "TrajectoryRow",
    "TurnRow",
    "database_of",
]
