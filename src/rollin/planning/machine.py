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

    def weights(self, own: torch.dtype) -> torch.dtype:
        """What a model's weights are held in: float32 on a CPU, the checkpoint's own dtype on a GPU."""
        return own if self.on_gpu else torch.float32

    def multiplied(self, precision: Precision, own: torch.dtype) -> torch.dtype:
        """What matrices are multiplied in, there."""
        return own if self.on_gpu else multiplied_in(precision)
