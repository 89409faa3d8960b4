"""The local policy against `model.generate` a request: python benchmarks/local_policy.py [RUN [TRAJECTORIES]]

16 trajectories (or so many) answer their turns, one after the other, all trajectories at once. With a run, they are the
trajectories of its last evaluation, answered by the checkpoint that was evaluated; without one, invented conversations
of three turns, answered by the packaged model. Theirs: one `generate` call a request, no batch, no cache kept between
turns (its own cache within a call). Ours: with as many workers as it chooses, with one and with two
(policies/local.py), with and without guessing (policies/habits.py), and with and without a copy of the weights in the
order in which the kernels read them (policies/ragged.py).
"""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from transformers import PreTrainedTokenizerBase

from rollin.chat import action_end, state_ids
from rollin.messages import Message
from rollin.models import PACKAGED, load_model, load_tokenizer, multiplied_in
from rollin.policies.base import Request, Sampling
from rollin.policies.habits import Habits
from rollin.policies.local import LocalPolicy
from rollin.policies.ragged import ATTENTION, slacken
from rollin.store import Purpose, Store
from rollin.training.settings import Precision

TRAJECTORIES = int(sys.argv[2]) if len(sys.argv) > 2 else 16
INVENTED_TURNS = 3
SAMPLING = Sampling(max_tokens=160)
"""Greedy. (The quickstart allows 184 tokens; with 160 the figures of earlier versions can be compared.)"""
SAMPLE = 4
"""Of so many trajectories theirs answers the requests: one by one, more of them change no rate."""
BAR = 3.0
OBSERVATION = "roman.py:14: in encode\n    return join(pack(letter, length) for letter, length in runs)\n" * 5


DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class NoHabits(Habits):
    """Never guesses."""

    def guess(self, context: Any, most: int) -> list[int]:
        return []


def conversation(trajectory: int, turns: int) -> list[Message]:
    messages: list[Message] = [
        {"role": "system", "content": "You repair a Python repository with bash."},
        {"role": "user", "content": f"Case {trajectory}: `encode('aab')` raises TypeError, it should return 'a2b'."},
    ]
    for turn in range(turns):
        messages.append(
            {"role": "assistant", "content": f"Look again, {trajectory} {turn}.\n```bash\ncat a{turn}\n```"}
        )
        messages.append({"role": "user", "content": f"{trajectory} {turn} {OBSERVATION}"})
    return messages


def invented() -> list[list[Request]]:
    """[trajectory][turn]."""
    return [
        [Request(conversation(n, turn), str(n), turn, 0, SAMPLING) for turn in range(INVENTED_TURNS)]
        for n in range(TRAJECTORIES)
    ]


def recorded(run: Path) -> tuple[list[list[Request]], str]:
    """([trajectory][turn], checkpoint) of a run's last evaluation."""
    with Store.read(run / "run.db") as store:
        iteration = store.evaluations()[-1].iteration
        rows = store.trajectories(iteration=iteration, purpose=Purpose.EVAL)[:TRAJECTORIES]
        asked = [
            [Request(store.state_messages(t.state_id), str(row.id), t.turn, 0, SAMPLING) for t in store.turns(row.id)]
            for row in rows
        ]
    return asked, str(run / "checkpoints" / f"iteration-{iteration}") if iteration else PACKAGED


async def ours(policy: LocalPolicy, asked: list[list[Request]]) -> int:
    async def trajectory(requests: list[Request]) -> int:
        return sum([(await policy.act(request)).completion_tokens for request in requests])

    return sum(await asyncio.gather(*map(trajectory, asked)))


def theirs(model: Any, tokenizer: PreTrainedTokenizerBase, requests: list[Request]) -> int:
    tokens = 0
    for request in requests:
        prompt = torch.tensor([state_ids(tokenizer, request.messages)], device=model.device)
        with torch.inference_mode():
            output = model.generate(
                prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=SAMPLING.max_tokens, do_sample=False,
                eos_token_id=sorted(action_end(tokenizer)),
            )  # fmt: skip
        tokens += output.shape[1] - prompt.shape[1]
    return tokens


def measure_ours(
    source: str,
    asked: list[list[Request]],
    precision: Precision,
    guessing: bool = True,
    quick: bool = True,
    workers: int | None = None,
) -> tuple[float, int]:
    """(tokens/s, tokens)."""
    model, tokenizer = load_model(source, ATTENTION), load_tokenizer(source)
    habits = Habits() if guessing else NoHabits()
    policy = LocalPolicy(model, tokenizer, slots=TRAJECTORIES, precision=precision, workers=workers, habits=habits)
    if not quick:
        slacken(policy.model)
    warm = [[Request(conversation(99, 0), f"warm {n}", 0, 0, Sampling(max_tokens=4))] for n in range(TRAJECTORIES)]
    asyncio.run(ours(policy, warm))
    for each in range(TRAJECTORIES):
        policy.forget(f"warm {each}")
    habits.clear()
    start = time.perf_counter()
    tokens = asyncio.run(ours(policy, asked))
    rate = tokens / (time.perf_counter() - start)
    asyncio.run(policy.close())
    return rate, tokens


def main() -> None:
    asked, source = recorded(Path(sys.argv[1])) if len(sys.argv) > 1 else (invented(), PACKAGED)
    rows = []
    chosen: Precision = "auto"
    settings: dict[str, dict[str, Any]] = {
        f"ours ({multiplied_in(chosen, DEVICE)})".replace("torch.", ""): {"precision": chosen},
        "the same, one worker": {"precision": chosen, "workers": 1},
        "the same, two workers": {"precision": chosen, "workers": 2},
        "the same, never guessing": {"precision": chosen, "guessing": False},
        "ours in float32": {"precision": "float32"},
        "the same, weights as they lie": {"precision": "float32", "quick": False},
    }
    for name, setting in settings.items():
        rows.append((name, *measure_ours(source, asked, **setting)))
        print(f"{name}: {rows[-1][1]:.1f} tokens/s", flush=True)
    # A model of its own: ours has its linear layers quickened, theirs must not have them.
    tokenizer, model = load_tokenizer(source), load_model(source)
    theirs(model, tokenizer, asked[0][:1])
    start = time.perf_counter()
    tokens = theirs(model, tokenizer, [request for trajectory in asked[:SAMPLE] for request in trajectory])
    rate = tokens / (time.perf_counter() - start)
    print(f"generate: {rate:.1f} tokens/s", flush=True)
    table = Table("what", "tokens/s", "ratio to generate", "bar", "tokens")
    for name, ours_rate, ours_tokens in rows:
        table.add_row(name, f"{ours_rate:.1f}", f"{ours_rate / rate:.2f}", f"{BAR:g}", str(ours_tokens))
    table.add_row(f"generate ({SAMPLE} of the trajectories)", f"{rate:.1f}", "1.00", "", str(tokens))
    Console().print(table)


if __name__ == "__main__":
    main()
