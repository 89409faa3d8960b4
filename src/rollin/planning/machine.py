"""The machine that a recipe is planned for: so many GPUs, or this CPU."""

from dataclasses import dataclass

import torch

from rollin.models import multiplied_in
from rollin.training.settings import Precision


@dataclass(frozen=True)
class Machine:
    """Where training and acting are to happen."""

    memory: float
    """Bytes: of one GPU, or of main memory where there is none."""
    gpus: int = 0
    """0: a CPU."""
    disk: float | None = None
    """Bytes free for runs and images; None where nobody says."""

    @property
    def on_gpu(self) -> bool:
        return self.gpus > 0

    def multiplied(self, precision: Precision) -> torch.dtype:
        """What matrices are multiplied in, there. Of a GPU we take it that it has bfloat16."""
        if self.on_gpu:
            return torch.float32 if precision == "float32" else torch.bfloat16
        return multiplied_in(precision, torch.device("cpu"))
