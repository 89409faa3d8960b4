"""The local policy against `model.generate` a request: python benchmarks/local_policy.py [TURNS]

16 trajectories with growing histories, the same requests for both sides. Theirs: one `generate` call a request, no
batch, no cache kept between turns (its own cache within a call). Ours: all 16 at once. Actions are 40 tokens each.
"""

import asyncio
import sys
import time
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from transformers import PreTrainedTokenizerBase

from rollin.chat import state_ids
from rollin.models import PACKAGED, load_model, load_tokenizer
from rollin.policies.base import Message, Request, Sampling
from rollin.policies.local import LocalPolicy
from rollin.policies.ragged import ATTENTION

TRAJECTORIES = 16
ACTION_TOKENS = 40
SAMPLE = 4
"""Of so many trajectories theirs answers the requests: one by one, more of them change no rate."""
OBSERVATION = "roman.py:14: in encode\n    return join(pack(letter, length) for letter, length in runs)\n" * 5


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


def requests(turns: int) -> list[list[Request]]:
    """[turn][trajectory]."""
    sampling = Sampling(max_tokens=ACTION_TOKENS)
    return [
        [Request(conversation(n, turn), str(n), turn, 0, sampling) for n in range(TRAJECTORIES)]
        for turn in range(turns)
    ]


async def ours(policy: LocalPolicy, turns: list[list[Request]]) -> int:
    tokens = 0
    for turn in turns:
        actions = await asyncio.gather(*(policy.act(request) for request in turn))
        tokens += sum(action.completion_tokens for action in actions)
    return tokens


def theirs(model: Any, tokenizer: PreTrainedTokenizerBase, turns: list[list[Request]]) -> int:
    tokens = 0
    for request in (request for turn in turns for request in turn):
        prompt = torch.tensor([state_ids(tokenizer, request.messages)])
        with torch.inference_mode():
            output = model.generate(
                prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=ACTION_TOKENS, do_sample=False
            )
        tokens += output.shape[1] - prompt.shape[1]
    return tokens


def main() -> None:
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    asked = requests(turns)
    # Two models: ours has its linear layers quickened, theirs must not have them.
    tokenizer, model = load_tokenizer(PACKAGED), load_model(PACKAGED)
    policy = LocalPolicy(load_model(PACKAGED, ATTENTION), tokenizer, slots=TRAJECTORIES)
    asyncio.run(ours(policy, [[Request(conversation(99, 0), "warm", 0, 0, Sampling(max_tokens=4))]]))
    start = time.perf_counter()
    our_tokens = asyncio.run(ours(policy, asked))
    our_seconds = time.perf_counter() - start
    theirs(model, tokenizer, [asked[0][:1]])
    start = time.perf_counter()
    their_tokens = theirs(model, tokenizer, [turn[:SAMPLE] for turn in asked])
    their_seconds = time.perf_counter() - start
    table = Table("what", "ours", "generate", "ratio", "bar")
    ours_rate, their_rate = our_tokens / our_seconds, their_tokens / their_seconds
    table.add_row("tokens/s", f"{ours_rate:.1f}", f"{their_rate:.1f}", f"{ours_rate / their_rate:.2f}", "3")
    table.add_row("tokens", str(our_tokens), str(their_tokens), "", "")
    Console().print(table)
    asyncio.run(policy.close())


if __name__ == "__main__":
    main()
