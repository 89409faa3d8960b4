"""How a student learns, as a recipe says it. Apart from the trainer, so that a slip in a recipe is told before torch is
loaded."""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Precision = Literal["auto", "float32", "bfloat16"]
"""In which numbers matrices are multiplied. Weights, their changes, and all that is summed up stay in float32."""


class TrainingSettings(BaseModel):
    """How the student learns from the aggregated labels in one iteration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parameters: Literal["full", "top_layers", "lora"] = "full"
    """Which weights move: all, those of the top layers, or low-rank adapters on all linear layers."""
    top_layers: int = Field(default=18, ge=1)
    """With `top_layers`: how many layers, from the top. The ones below need no backward pass."""
    lora_rank: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=3e-6, gt=0)
    warmup_fraction: float = Field(default=0.05, ge=0, lt=1)
    schedule: Literal["constant_with_warmup", "linear", "cosine"] = "cosine"
    epochs: float = Field(default=1.0, gt=0)
    batch_trajectories: int = Field(default=1, ge=1)
    """Trajectories in one optimizer step. What they begin with alike goes through the model once, as far as one trie of
    `max_tokens` holds them."""
    max_tokens: int = Field(default=2048, ge=64)
    """Nodes of one packed trie; a longer trajectory is cut into several, a longer label left out and counted."""
    gradient_checkpointing: bool = False
    """Keep each layer's input alone and compute the rest once more in the backward pass: a third more time, for a
    fraction of the memory."""
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)

    def steps(self, tries: int) -> int:
        """Optimizer steps on so many packed tries."""
        return math.ceil(math.ceil(tries / self.batch_trajectories) * self.epochs)
