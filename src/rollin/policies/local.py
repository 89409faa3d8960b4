"""A transformers model in this process, answering many trajectories at once.

Its trajectories are shared out among workers (worker.py), each a thread with conversations of its own. On a GPU there
is one. On a CPU there are as many as cores if there are conversations enough: two cores that work for one batch wait
for each other after each of hundreds of small operations, two batches need not (benchmarks/local_policy.py).
"""

import asyncio
from collections import Counter

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rollin.chat import state_ids
from rollin.errors import ContextOverflow
from rollin.models import multiplied_in
from rollin.policies.base import Action, Request
from rollin.policies.habits import Habits
from rollin.policies.ragged import quicken, slacken
from rollin.policies.worker import Job, Worker
from rollin.training.settings import Precision

SLOTS_EACH = 8
"""A worker has at least so many: reading the weights has to pay."""


class LocalPolicy:
    """The student of a run on one machine. `slots` is how many trajectories it answers at once."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str = "student",
        slots: int = 16,
        context_tokens: int = 4096,
        precision: Precision = "float32",
        workers: int | None = None,
        habits: Habits | None = None,
    ) -> None:
        """`workers`: left out, as many as there is work for. `habits`: left out, none so far."""
        self._dtype = multiplied_in(precision, model.device)
        quicken(model, self._dtype)
        self.name = name
        self.model = model
        self.tokenizer = tokenizer
        self.context_tokens = context_tokens
        habits = habits or Habits()
        threads = torch.get_num_threads() if model.device.type == "cpu" else 1
        workers = workers or max(1, min(threads, slots // SLOTS_EACH))
        self._workers = [
            Worker(
                model,
                tokenizer,
                habits,
                name=f"policy-{name}-{number}",
                slots=-(-slots // workers),
                dtype=self._dtype,
                threads=threads // workers if workers > 1 else 0,
            )
            for number in range(workers)
        ]
        torch.set_num_threads(torch.get_num_threads())  # threads to come, such as training's, have all of them again
        self._places: dict[str, Worker] = {}
        """Whose worker is whose: by trajectory."""

    async def act(self, request: Request) -> Action:
        """The next assistant message. Raises ContextOverflow, and InfrastructureFault if a worker has died."""
        prompt = state_ids(self.tokenizer, request.messages)
        if len(prompt) + request.sampling.max_tokens > self.context_tokens:
            raise ContextOverflow(f"the state has {len(prompt)} tokens; the context holds {self.context_tokens}")
        job = Job(request, prompt)
        self._worker_of(request.trajectory).put(job)
        return await asyncio.wrap_future(job.future)

    @property
    def broken(self) -> BaseException | None:
        """Why it answers nobody any more, or not all; None while it does."""
        return next((worker.broken for worker in self._workers if worker.broken is not None), None)

    def _worker_of(self, trajectory: str) -> Worker:
        """The one that has its cache; for a new trajectory, one with the fewest."""
        if trajectory not in self._places:
            held = Counter(self._places.values())
            self._places[trajectory] = min(self._workers, key=lambda worker: held[worker])
        return self._places[trajectory]

    def forget(self, trajectory: str) -> None:
        """Give the trajectory's slot back (its content may be overwritten at once)."""
        if worker := self._places.pop(trajectory, None):
            worker.forget(trajectory)

    def reset(self) -> None:
        """The weights have changed: what the cache holds is no longer theirs. Call it with no request under way."""
        self.rest()
        quicken(self.model, self._dtype)

    def rest(self) -> None:
        """Give back the memory that acting takes, before the weights change. Call it with no request under way."""
        self._places.clear()
        for worker in self._workers:
            worker.rest()
        slacken(self.model)

    async def close(self) -> None:
        for worker in self._workers:
            await asyncio.to_thread(worker.stop)
