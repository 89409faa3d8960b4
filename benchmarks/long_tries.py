"""What a long trie's attention costs on a GPU, by the matrix and in blocks: python benchmarks/long_tries.py

Tries of random tokens laid out as labelled turns go forward and backward through a model of SmolLM2-135M's shape with
random weights, in bfloat16, once with the matrix of what is hidden and once with FlexAttention's blocks
(training/masks.py). Lengths differ from trie to trie, as they do in a run; the first passes with blocks compile.
"""

import time

import torch
from plan_memory import turns

from rollin.models import PACKAGED
from rollin.planning.describing import describe
from rollin.planning.findings import GIB
from rollin.training.masks import Mask, blocks, matrix
from rollin.training.trainer import as_inputs, trie_loss
from rollin.training.trie import pack

LENGTHS = (4096, 8192, 7000, 16384, 15001, 32768)
LABEL_SHARE = 0.05


def main() -> None:
    torch.manual_seed(0)
    with torch.device("cuda"):
        model = describe(PACKAGED).skeleton()
    ways = {"matrix": lambda end: matrix(end, torch.bfloat16), "blocks": blocks}
    print(
        f"{'tokens':>8}{'mask':>10}{'first, s':>10}{'second, s':>11}{'GiB':>8}{'loss':>12}{'gradient':>12}", flush=True
    )
    for length in LENGTHS:
        inputs = as_inputs(pack(turns(length, LABEL_SHARE)), "cuda")
        for name, way in ways.items():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            seconds, loss, norm = zip(*(step(model, inputs, way(inputs["end"])) for _ in range(2)), strict=True)
            held = torch.cuda.max_memory_allocated() / GIB
            print(
                f"{len(inputs['end']):>8}{name:>10}{seconds[0]:>10.2f}{seconds[1]:>11.3f}{held:>8.1f}"
                f"{loss[1]:>12.2f}{norm[1]:>12.4f}",
                flush=True,
            )


def step(model: torch.nn.Module, inputs: dict[str, torch.Tensor], hidden: Mask) -> tuple[float, float, float]:
    """(seconds, loss, norm of the gradient)."""
    model.zero_grad()
    torch.cuda.synchronize()
    start = time.perf_counter()
    loss = trie_loss(model, inputs, dtype=torch.bfloat16, hidden=hidden)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    norm = sum(float(weight.grad.norm() ** 2) for weight in model.parameters() if weight.grad is not None) ** 0.5
    return seconds, loss.item(), norm


if __name__ == "__main__":
    main()
