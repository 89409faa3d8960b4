"""A thread that decodes: the conversations of its slots, together, one pass over the weights after another.

Between two passes it lets new requests in and finished ones out, so nobody waits for a batch to fill or to end
(continuous batching). A trajectory keeps its slot of the key/value cache between turns: its next state repeats the last
one, and only the tokens after the common prefix are computed. What another slot holds of that (the instructions, a task
that several trajectories try) is copied. Where the policy has said the like before, several tokens are guessed and
checked in one pass (habits.py).
"""

import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rollin.chat import action_end
from rollin.errors import InfrastructureFault
from rollin.messages import offered, read
from rollin.policies.base import Action, Request
from rollin.policies.habits import Habits
from rollin.policies.ragged import SHORT, Segment, SlotCache, forward

PREFILL_TOKENS, PREFILL_TOKENS_GPU = 512, 8192
"""New tokens of one pass, at most: long prompts must not hold up those who decode."""
NUCLEUS = 64
"""Tokens among which top-p is looked for first."""


@dataclass
class Job:
    """A request on its way to an action."""

    request: Request
    prompt: list[int]
    future: Future[Action] = field(default_factory=Future)
    started: float = field(default_factory=time.monotonic)
    slot: int = -1
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = np.random.default_rng(self.request.seed)
        self.stops = _stops(self.request.asked.get("stop"))

    @property
    def ids(self) -> list[int]:
        return self.prompt + self.tokens


@dataclass
class _Slot:
    """Whose tokens a slot of the cache holds."""

    trajectory: str = ""
    ids: list[int] = field(default_factory=list)
    busy: bool = False
    used: float = 0.0


@dataclass
class _Says:
    """What a pass over the weights says of a request's next tokens."""

    job: Job
    scores: torch.Tensor
    """[1 + guessed, vocabulary]. Those after a guessed token mean something only if that token is what was drawn."""
    guess: list[int]

    def guessed(self, place: int) -> bool:
        """Whether the last token drawn is the one that was guessed at this place."""
        return place < len(self.guess) and self.job.tokens[-1] == self.guess[place]


class Worker:
    """Decodes for up to `slots` trajectories with so many of the processor's `threads` (0: as torch is set)."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        habits: Habits,
        *,
        name: str,
        slots: int,
        dtype: torch.dtype,
        threads: int = 0,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.habits = habits
        self.broken: BaseException | None = None
        """What ended it, if it did not end by itself."""
        self._ended = False
        self._door = threading.Lock()
        """Held by who puts a request in, and by who ends: so that none is put in for nobody to answer."""
        self._threads = threads
        self._most_new = PREFILL_TOKENS if model.device.type == "cpu" else PREFILL_TOKENS_GPU
        self._end = action_end(tokenizer) | _ends(model)
        self._inbox: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._slots = [_Slot() for _ in range(slots)]
        self._cache = SlotCache(model, dtype)
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()
        self._started.wait()

    def put(self, job: Job) -> None:
        """Take a request in; its future gets the action, or an InfrastructureFault."""
        with self._door:
            self._inbox.put(job)
            if self._ended:
                self._refuse([])

    def forget(self, trajectory: str) -> None:
        """Its slot is the next to be taken over."""
        for slot in self._slots:
            if slot.trajectory == trajectory and not slot.busy:
                slot.used = 0.0

    def rest(self) -> None:
        """Empty the slots, and give their memory back. Call it with no request under way."""
        self._slots = [_Slot() for _ in self._slots]
        self._cache.clear()

    def stop(self) -> None:
        """End. Who still waits for an answer gets an InfrastructureFault."""
        self._inbox.put(None)
        self._thread.join()

    def _work(self) -> None:
        if self._threads:
            torch.get_num_threads()  # or the first operation of this thread would set it to all threads' number
            torch.set_num_threads(self._threads)  # in this thread, and in threads to come
        self._started.set()
        running: list[Job] = []
        waiting: list[Job] = []
        try:
            while self._receive(waiting, idle=not running and not waiting):
                self._seat(waiting, running)
                self._step(running)
        except BaseException as error:
            self.broken = error
            if not isinstance(error, Exception):
                raise
        finally:
            with self._door:
                self._ended = True
                self._refuse(running + waiting)

    def _refuse(self, jobs: list[Job]) -> None:
        """Tell these, and those in the inbox, that they get no answer."""
        while not self._inbox.empty():
            if job := self._inbox.get():
                jobs.append(job)
        why = f"stopped working: {self.broken}" if self.broken is not None else "was closed"
        for job in jobs:
            if not job.future.done():
                job.future.set_exception(InfrastructureFault(f"the local model {why}"))

    def _receive(self, waiting: list[Job], *, idle: bool) -> bool:
        """Take what has arrived, waiting for something only when there is nothing else to do. False: time to stop."""
        while idle or not self._inbox.empty():
            job = self._inbox.get()
            if job is None:
                return False
            waiting.append(job)
            idle = False
        return True

    def _seat(self, waiting: list[Job], running: list[Job]) -> None:
        """Give waiting requests a slot: their trajectory's own, else the one unused for longest."""
        for job in list(waiting):
            free = [number for number, slot in enumerate(self._slots) if not slot.busy]
            if not free:
                return
            name = job.request.trajectory
            number = min(free, key=lambda n: (self._slots[n].trajectory != name, self._slots[n].used))
            slot = self._slots[number]
            # The last token of a prompt is always computed anew: its logits are what decoding starts from.
            shared = min(_common_prefix(slot.ids, job.prompt), len(job.prompt) - 1)
            slot.trajectory, slot.ids, slot.busy = name, slot.ids[:shared], True
            job.slot = number
            waiting.remove(job)
            running.append(job)

    def _step(self, running: list[Job]) -> None:
        """One pass over the weights: for each running request a piece of its prompt, or its next tokens."""
        rows: list[tuple[Segment, list[int]]] = []
        chosen: list[Job] = []
        budget = self._most_new
        for job in sorted(running, key=lambda j: len(j.ids) - len(self._slots[j.slot].ids)):
            self._borrow(job)
            past, ids = len(self._slots[job.slot].ids), job.ids
            new, guess = ids[past : past + budget], list[int]()
            if not new:
                break
            if past + len(new) == len(ids):
                room = min(SHORT, budget) - len(new), job.request.sampling.max_tokens - len(job.tokens) - 1
                guess = self.habits.guess(ids, min(room))
            rows.append((Segment(job.slot, past, len(new) + len(guess), wanted=1 + len(guess)), new + guess))
            chosen.append(job)
            budget -= len(new) + len(guess)
        with torch.inference_mode():
            logits = forward(self.model, self._cache, rows)
            says = list[_Says]()
            for job, (segment, tokens), scores in zip(chosen, rows, logits, strict=True):
                known = segment.new - segment.wanted + 1
                slot = self._slots[job.slot]
                slot.ids = slot.ids + tokens[:known]
                if len(slot.ids) == len(job.ids):
                    says.append(_Says(job, scores, tokens[known:]))
            self._draw(says)
        for job in (each.job for each in says if each.job.future.done()):
            slot = self._slots[job.slot]
            slot.busy, slot.used = False, time.monotonic()
            running.remove(job)

    @torch.inference_mode()
    def _borrow(self, job: Job) -> None:
        """Copy what another slot holds of the prompt's beginning, but for the prompt's last token."""
        slot, prompt = self._slots[job.slot], job.prompt[:-1]
        if len(slot.ids) >= len(prompt):
            return
        shared, lender = max((_common_prefix(other.ids, prompt), number) for number, other in enumerate(self._slots))
        if shared > len(slot.ids):
            self._cache.reserve(job.slot + 1, shared)
            self._cache.copy(lender, job.slot, len(slot.ids), shared)
            slot.ids = prompt[:shared]

    def _draw(self, says: "list[_Says]") -> None:
        """Draw the next token of each, and of those who had guessed it the one after, until all guesses are used up."""
        place = 0
        while says:
            for sampling in {each.job.request.sampling for each in says}:
                alike = [each for each in says if each.job.request.sampling == sampling]
                scores = torch.stack([each.scores[place] for each in alike]).float()
                chances = [each.job.chance.random() if sampling.temperature else 0.0 for each in alike]
                drawn = draw(scores, sampling.temperature, sampling.top_p, chances)
                for each, token, logprob in zip(alike, *drawn, strict=True):
                    self._append(each.job, token, logprob)
            says = [each for each in says if not each.job.future.done() and each.guessed(place)]
            for each in says:
                self._slots[each.job.slot].ids.append(each.guess[place])
            place += 1

    def _append(self, job: Job, token: int, logprob: float) -> None:
        """Answer when the token ends the message or the limit is reached."""
        self.habits.learn(job.ids, token)
        job.tokens.append(token)
        job.logprobs.append(logprob)
        ended = token in self._end
        stopped = None if ended else self._stopped(job)
        if ended or stopped is not None or len(job.tokens) >= job.request.sampling.max_tokens:
            job.future.set_result(self._action(job, ended=ended, stopped=stopped))

    def _action(self, job: Job, *, ended: bool, stopped: str | None) -> Action:
        asked, tokens = job.request.asked, job.tokens
        if stopped is None:
            text = self._text(tokens[:-1] if ended else tokens)
        else:  # tokens end where the text does, or within the stop: what is learnt from is what was sampled till then
            text, tokens = stopped, self._up_to(stopped, tokens)
        tools, _ = offered(job.request.messages)
        content, calls = read(text, job.request.turn) if tools and asked.get("tool_choice") != "none" else (text, [])
        logprobs = job.logprobs[: len(tokens)]
        return Action(
            content=content,
            tool_calls=calls,
            finish_reason="length" if not ended and stopped is None else "stop",
            prompt_tokens=len(job.prompt),
            completion_tokens=len(job.tokens),
            token_ids=tokens,
            logprobs=logprobs,
            logprobs_answered=self._spelled(tokens, logprobs) if asked.get("logprobs") else None,
            seconds=time.monotonic() - job.started,
        )

    def _text(self, tokens: list[int]) -> str:
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True))

    def _stopped(self, job: Job) -> str | None:
        """What was said before the first of the texts at which the harness wants to stop; None where there is none."""
        if not job.stops:
            return None
        text = self._text(job.tokens)
        places = [text.find(stop) for stop in job.stops if stop in text]
        return text[: min(places)] if places else None

    def _up_to(self, text: str, tokens: list[int]) -> list[int]:
        """The first of the tokens that say a text that they begin with; one at least."""
        count = next(n for n in range(1, 1 + len(tokens)) if self._text(tokens[:n]).startswith(text))
        return tokens[:count]

    def _spelled(self, tokens: list[int], logprobs: list[float]) -> list[dict[str, Any]]:
        texts = [str(self.tokenizer.decode([token])) for token in tokens]
        return [
            {"token": text, "logprob": logprob, "bytes": list(text.encode()), "top_logprobs": []}
            for text, logprob in zip(texts, logprobs, strict=True)
        ]


def _ends(model: PreTrainedModel) -> set[int]:
    """Tokens at which a model stops, by its own configuration: one, several or none."""
    ends = getattr(model.generation_config, "eos_token_id", None)
    return {ends} if isinstance(ends, int) else {*(ends or ())}


def _stops(asked: object) -> list[str]:
    """Texts at which a message ends, as the harness asks for them: one, or a list."""
    several = asked if isinstance(asked, list) else [asked]
    return [stop for stop in several if isinstance(stop, str) and stop]


def draw(
    scores: torch.Tensor, temperature: float, top_p: float, chances: Sequence[float]
) -> tuple[list[int], list[float]]:
    """For each row of scores [rows, vocabulary] a token, and its log-probability at this temperature, before top-p; at
    temperature 1 when greedy. `chances` are uniform numbers from 0 to 1, one a row."""
    logprobs = torch.log_softmax(scores / (temperature or 1.0), -1)
    if temperature == 0.0:
        tokens = scores.argmax(-1)
    else:
        shares = logprobs.exp().double()
        if top_p < 1.0:
            shares[_outside(shares, top_p)] = 0.0
        # In the vocabulary's order, not by rank: rounding may swap two ranks, and then another token would be drawn.
        cumulative = shares.cumsum(-1)
        reached = torch.tensor(chances, dtype=torch.double)[:, None].to(scores.device) * cumulative[:, -1:]
        tokens = torch.searchsorted(cumulative, reached, right=True)[:, 0]
    return tokens.tolist(), logprobs.gather(-1, tokens[:, None])[:, 0].tolist()


def _outside(shares: torch.Tensor, top_p: float) -> torch.Tensor:
    """[rows, vocabulary] boolean: all but the smallest set of tokens whose probability reaches top_p (nucleus
    sampling)."""
    for most in (NUCLEUS, shares.shape[-1]):  # seldom needs the whole vocabulary sorted
        ordered, order = shares.topk(min(most, shares.shape[-1]))
        reached = ordered.cumsum(-1)
        if bool((reached[:, -1] >= top_p).all()):
            break
    kept = torch.nn.functional.pad(reached[:, :-1] < top_p, (1, 0), value=True)  # and the one that reaches it
    return torch.ones_like(shares, dtype=torch.bool).scatter(-1, order, ~kept)


def _common_prefix(left: list[int], right: list[int]) -> int:
    """By halves: to compare slices is quick, to walk through them is not."""
    known, most = 0, min(len(left), len(right))
    while known < most:
        middle = (known + most + 1) // 2
        if left[known:middle] == right[known:middle]:
            known = middle
        else:
            most = middle - 1
    return known
