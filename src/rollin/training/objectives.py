"""How a labelled state becomes a loss. (Reverse KL and policy gradient join this table with their methods.)"""

import torch
from torch.nn.functional import cross_entropy


def label_cross_entropy(logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Sum over label tokens of weight * -log p(token | state, earlier label tokens); a scalar.

    logits [m, vocabulary], target [m] tokens, weight [m]. The paper's loss (The algorithm, step 4).
    """
    return (cross_entropy(logits.float(), target, reduction="none") * weight).sum()
