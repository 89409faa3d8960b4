"""The local policy: batches and caches change the speed of an action, never the action."""

import asyncio
import copy
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from rollin.chat import action_end, action_ids, closing, state_ids
from rollin.errors import ContextOverflow, InfrastructureFault
from rollin.messages import Message
from rollin.policies import worker
from rollin.policies.base import Action, Request, Sampling
from rollin.policies.habits import ORDERS, Habits
from rollin.policies.local import LocalPolicy
from rollin.policies.worker import draw
from rollin.training.settings import Precision


@pytest.fixture(params=[1, 2])
def policy(
    request: pytest.FixtureRequest, tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> Iterator[LocalPolicy]:
    """With one worker, and with two."""
    policy = LocalPolicy(tiny_model, tokenizer, slots=4, context_tokens=2000, workers=request.param)
    yield policy
    asyncio.run(policy.close())


def conversation(name: str, turns: int) -> list[Message]:
    messages: list[Message] = [{"role": "system", "content": "Repair it."}, {"role": "user", "content": f"Task {name}"}]
    for turn in range(turns):
        messages.append({"role": "assistant", "content": f"look at {name} {turn}"})
        messages.append({"role": "user", "content": f"output {turn} " * (1 + len(name) % 3)})
    return messages


def ask(name: str, turns: int, seed: int = 0, **sampling: float) -> Request:
    return Request(conversation(name, turns), name, turns, seed, Sampling(max_tokens=12, **sampling))  # type: ignore[arg-type]


def plain_generation(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, request: Request) -> list[int]:
    """transformers' own `generate`, alone and without our cache."""
    prompt = torch.tensor([state_ids(tokenizer, request.messages)])
    output = model.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=12, do_sample=False,
        eos_token_id=sorted(action_end(tokenizer)),
    )  # fmt: skip
    return output[0, prompt.shape[1] :].tolist()


def test_greedy_actions_are_those_of_plain_generation(
    policy: LocalPolicy, tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    """More trajectories than slots, several turns each: slots are shared, taken over and reused."""
    requests = [[ask(f"t{n}" * n, turn) for n in range(1, 8)] for turn in range(3)]

    async def all_turns() -> list[list[Action]]:
        return [await asyncio.gather(*(policy.act(request) for request in turn)) for turn in requests]

    for turn, actions in zip(requests, asyncio.run(all_turns()), strict=True):
        for request, action in zip(turn, actions, strict=True):
            assert action.token_ids == plain_generation(tiny_model, tokenizer, request)


def test_sampling_depends_on_the_seed_and_not_on_the_company(policy: LocalPolicy) -> None:
    request = ask("a", 1, seed=5, temperature=1.0)

    async def once(company: int) -> Action:
        others = [policy.act(ask(f"other{n}", 0, seed=n, temperature=1.0)) for n in range(company)]
        return (await asyncio.gather(policy.act(request), *others))[0]

    alone, crowded = asyncio.run(once(0)), asyncio.run(once(6))
    other = asyncio.run(policy.act(ask("a", 1, seed=6, temperature=1.0)))
    assert alone.token_ids == crowded.token_ids
    assert alone.logprobs == pytest.approx(crowded.logprobs, abs=1e-3)
    assert other.token_ids != alone.token_ids


@pytest.mark.skipif(torch.cuda.is_available(), reason="on a GPU there is one worker")
def test_workers_share_the_cores_and_leave_them_to_others(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trajectory stays with its worker; a thread that begins later has all cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    seen = dict[str, int]()
    whole = worker.forward

    def watched(*parts: Any) -> Any:
        seen[threading.current_thread().name] = torch.get_num_threads()
        return whole(*parts)

    monkeypatch.setattr(worker, "forward", watched)
    policy = LocalPolicy(tiny_model, tokenizer, slots=16, context_tokens=2000)
    try:
        for turn in range(2):
            for name in "abcd":
                asyncio.run(policy.act(ask(name, turn)))
        assert seen == {"policy-student-0": 2, "policy-student-1": 2}
        with ThreadPoolExecutor(1) as later:
            assert later.submit(torch.get_num_threads).result() == 4
        placed = dict(policy._places)
        assert sorted(Counter(placed.values()).values()) == [2, 2]
        asyncio.run(policy.act(ask("a", 2)))
        assert policy._places == placed
    finally:
        asyncio.run(policy.close())
        torch.set_num_threads(before)


def test_what_another_trajectory_computed_of_a_prompt_is_copied(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Instructions that tasks share, and a whole prompt that is asked twice; the actions stay what they were."""
    passes: list[list[int]] = []
    whole = worker.forward

    def watched(model: Any, cache: Any, rows: Any) -> Any:
        passes.append([1 + segment.new - segment.wanted for segment, _ in rows])  # without what is guessed
        return whole(model, cache, rows)

    monkeypatch.setattr(worker, "forward", watched)
    asked = [
        replace(ask(name, turns), trajectory=f"{name}{n}")
        for n, (name, turns) in enumerate([("a", 0), ("b", 0), ("a", 0), ("b", 1)])
    ]
    prompts = [state_ids(tokenizer, request.messages) for request in asked]
    policy = LocalPolicy(tiny_model, tokenizer, slots=4, context_tokens=2000)
    try:
        new = list[int]()
        for request in asked:
            passes.clear()
            action = asyncio.run(policy.act(request))
            new.append(passes[0][0])
            assert action.token_ids == plain_generation(tiny_model, tokenizer, request)
    finally:
        asyncio.run(policy.close())
    assert new[0] == len(prompts[0])
    assert 1 < new[1] < len(prompts[1]) // 2  # the system prompt was there
    assert new[2] == 1  # all but the last token, which decoding starts from
    assert new[3] < len(prompts[3]) - len(prompts[1]) + 5


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_was_said_before_is_guessed_and_only_saves_passes(
    policy: LocalPolicy, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []
    whole = worker.forward
    monkeypatch.setattr(worker, "forward", lambda *parts: passes.append(1) or whole(*parts))
    requests = [ask(f"t{n}", n % 3, seed=n, temperature=temperature) for n in range(4)]

    async def everyone() -> list[Action]:
        return await asyncio.gather(*(policy.act(request) for request in requests))

    first, taken = asyncio.run(everyone()), len(passes)
    again, taken_again = asyncio.run(everyone()), len(passes) - taken
    assert [action.token_ids for action in again] == [action.token_ids for action in first]
    for one, other in zip(first, again, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-3)
    assert taken_again <= taken / 2


def test_wrong_guesses_change_nothing(policy: LocalPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    request = ask("a", 2, seed=3, temperature=1.0)
    expected = asyncio.run(policy.act(request)).token_ids
    chance = random.Random(0)
    monkeypatch.setattr(Habits, "guess", lambda self, context, most: [chance.randrange(100) for _ in range(most)])
    assert asyncio.run(policy.act(request)).token_ids == expected


@given(said=st.lists(st.integers(0, 3), max_size=60), most=st.integers(-2, 9))
def test_a_guess_goes_on_as_the_like_went_on_last(said: list[int], most: int) -> None:
    habits = Habits()
    for place, token in enumerate(said):
        habits.learn(said[:place], token)
    guess = habits.guess(said, most)
    assert len(guess) <= max(most, 0)
    for place, token in enumerate(guess):
        context = [*said, *guess[:place]]
        order = max(n for n in ORDERS if n <= len(context) and find(said, context[-n:]) is not None)
        assert token == find(said, context[-order:])


def find(said: list[int], context: list[int]) -> int | None:
    """What came last after `context`, within what was said."""
    places = [p for p in range(len(context), len(said)) if said[p - len(context) : p] == context]
    return said[places[-1]] if places else None


def test_logprobs_are_those_of_the_model(
    policy: LocalPolicy, tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    request = ask("b", 2, seed=1, temperature=0.7)
    action = asyncio.run(policy.act(request))
    assert action.token_ids is not None
    prompt = state_ids(tokenizer, request.messages)
    with torch.no_grad():
        ids = torch.tensor([prompt + action.token_ids], device=tiny_model.device)
        logits = tiny_model(ids).logits[0, len(prompt) - 1 : -1]
    expected = torch.log_softmax(logits / 0.7, -1)[torch.arange(len(action.token_ids)), action.token_ids]
    assert action.logprobs == pytest.approx(expected.tolist(), abs=1e-3)


def test_bfloat16_says_nearly_the_same(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Its log-probabilities are those of float32 but for rounding; the weights, and training, know nothing of it."""
    before = {name: parameter.clone() for name, parameter in tiny_model.named_parameters()}
    policy = LocalPolicy(tiny_model, tokenizer, slots=4, context_tokens=2000, precision="bfloat16")
    actions = [asyncio.run(policy.act(ask(f"g{n}", 2, seed=n, temperature=1.0))) for n in range(3)]
    asyncio.run(policy.close())
    for number, action in enumerate(actions):
        assert action.token_ids is not None
        prompt = state_ids(tokenizer, ask(f"g{number}", 2).messages)
        ids = torch.tensor([prompt + action.token_ids], device=tiny_model.device)
        logits = tiny_model(ids).logits[0, len(prompt) - 1 : -1].detach()
        expected = torch.log_softmax(logits, -1)[torch.arange(len(action.token_ids)), action.token_ids]
        assert action.logprobs == pytest.approx(expected.tolist(), abs=0.5)
        assert action.logprobs != pytest.approx(expected.tolist(), abs=1e-6)
    assert all(torch.equal(parameter, before[name]) for name, parameter in tiny_model.named_parameters())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_new_weights_are_used_after_a_reset(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, precision: Precision
) -> None:
    policy = LocalPolicy(tiny_model, tokenizer, slots=4, context_tokens=2000, precision=precision)
    before = asyncio.run(policy.act(ask("c", 1)))
    with torch.no_grad():
        for parameter in tiny_model.parameters():
            parameter.mul_(-1.3)
    policy.reset()
    after = asyncio.run(policy.act(ask("c", 1)))
    fresh = LocalPolicy(copy.deepcopy(tiny_model), tokenizer, slots=4, context_tokens=2000, precision=precision)
    assert after.token_ids == asyncio.run(fresh.act(ask("c", 1))).token_ids != before.token_ids
    if precision == "float32":
        assert after.token_ids == plain_generation(tiny_model, tokenizer, ask("c", 1))
    for each in (policy, fresh):
        asyncio.run(each.close())


@pytest.mark.parametrize("begin", [0, 7])
def test_a_stop_cuts_text_and_tokens(policy: LocalPolicy, tokenizer: PreTrainedTokenizerBase, begin: int) -> None:
    """The last token that is kept may reach into the stop; where that begins at once, it is the only one."""
    request = ask("a", 1, seed=5, temperature=1.0)
    whole = asyncio.run(policy.act(request))
    stop = whole.content[begin : begin + 3]
    before = whole.content[: whole.content.index(stop)]
    for asked in (stop, ["never said", stop]):
        cut = asyncio.run(policy.act(replace(request, asked={"stop": asked, "logprobs": True})))
        assert (cut.content, cut.finish_reason) == (before, "stop")
        assert cut.token_ids
        assert whole.token_ids
        assert cut.token_ids == whole.token_ids[: len(cut.token_ids)]
        assert tokenizer.decode(cut.token_ids).startswith(before)
        assert not before or not tokenizer.decode(cut.token_ids[:-1]).startswith(before)
        assert len(cut.logprobs or []) == len(cut.logprobs_answered or []) == len(cut.token_ids)
        assert cut.completion_tokens < whole.completion_tokens


@pytest.mark.parametrize("stop", [None, [], "", 7, [7, None]])
def test_what_is_no_stop_stops_nothing(policy: LocalPolicy, stop: object) -> None:
    request = ask("a", 1)
    assert asyncio.run(policy.act(replace(request, asked={"stop": stop}))).token_ids == (
        asyncio.run(policy.act(request)).token_ids
    )


def test_a_state_that_does_not_fit_is_an_overflow(policy: LocalPolicy) -> None:
    with pytest.raises(ContextOverflow, match="2000"):
        asyncio.run(policy.act(ask("d", 400)))


def test_a_broken_model_is_an_infrastructure_fault(policy: LocalPolicy, tiny_model: PreTrainedModel) -> None:
    tiny_model.lm_head = torch.nn.Linear(1, 1)
    with pytest.raises(InfrastructureFault):
        asyncio.run(policy.act(ask("e", 0)))
    with pytest.raises(InfrastructureFault):
        asyncio.run(policy.act(ask("e", 0)))


def test_nobody_waits_for_a_model_that_broke(
    policy: LocalPolicy, tiny_model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those who came while it broke stand in no list of the worker's yet."""
    began, fails = threading.Event(), threading.Event()

    def breaks(*parts: Any) -> Any:
        began.set()
        fails.wait(20)
        raise RuntimeError("out of memory")

    monkeypatch.setattr(worker, "forward", breaks)

    async def several() -> list[BaseException | Action]:
        first = [asyncio.create_task(policy.act(ask(name, 0))) for name in "ab"]
        await asyncio.to_thread(began.wait, 20)
        late = [asyncio.create_task(policy.act(ask(name, 0))) for name in "cdef"]
        await asyncio.sleep(0.05)
        fails.set()
        return await asyncio.wait_for(asyncio.gather(*first, *late, return_exceptions=True), 20)

    assert {type(each) for each in asyncio.run(several())} == {InfrastructureFault}
    assert "out of memory" in str(policy.broken)


def test_who_still_waits_when_a_policy_is_closed_is_told(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = LocalPolicy(tiny_model, tokenizer, slots=4, context_tokens=2000)
    whole = worker.forward
    monkeypatch.setattr(worker, "forward", lambda *parts: time.sleep(0.2) or whole(*parts))

    async def closed() -> None:
        waiting = asyncio.create_task(policy.act(ask("a", 0)))
        await asyncio.sleep(0.05)
        await policy.close()
        with pytest.raises(InfrastructureFault, match="was closed"):
            await asyncio.wait_for(waiting, 20)
        with pytest.raises(InfrastructureFault, match="was closed"):
            await policy.act(ask("b", 0))

    asyncio.run(closed())


def test_an_action_ends_with_the_mark_that_the_template_writes() -> None:
    words = Tokenizer(WordLevel({"<unk>": 0, "</s>": 1, "<|end|>": 2, "<|im_end|>": 3}, "<unk>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", eos_token="</s>")
    assert action_end(tokenizer) == {1, 2, 3}
    for template, end in (("{{ x }}<|im_end|>", 3), ("{{ x }}<|end|>", 2), ("{{ x }}{{ eos_token }}", 1)):
        tokenizer.chat_template = template
        assert closing(tokenizer) == end


def test_a_model_stops_where_its_configuration_says(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    assert tiny_model.generation_config is not None
    policy = LocalPolicy(tiny_model, tokenizer, slots=1, context_tokens=2000)
    said = asyncio.run(policy.act(ask("h", 0))).token_ids
    asyncio.run(policy.close())
    assert said is not None
    tiny_model.generation_config.eos_token_id = [2, said[0]]
    policy = LocalPolicy(tiny_model, tokenizer, slots=1, context_tokens=2000)
    action = asyncio.run(policy.act(ask("h", 0)))
    asyncio.run(policy.close())
    assert (action.token_ids, action.finish_reason) == (said[:1], "stop")


def test_draw_follows_top_p() -> None:
    scores = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))
    tokens, logprobs = draw(scores.expand(400, -1), 1.0, 0.75, np.linspace(0, 1, 400, endpoint=False).tolist())
    assert set(tokens) == {0, 1}
    assert abs(tokens.count(0) - 250) <= 1
    assert logprobs == pytest.approx(scores[torch.tensor(tokens)].tolist(), abs=1e-5)
    [token], [logprob] = draw(scores[None], 0.0, 1.0, [0.9])
    assert (token, logprob) == (0, pytest.approx(np.log(0.5), abs=1e-5))


def test_a_label_s_tokens_continue_its_state(tokenizer: PreTrainedTokenizerBase) -> None:
    """State plus action, tokenised apart, is how the chat template would have written the whole conversation."""
    messages = conversation("f", 2)
    action: Message = {"role": "assistant", "content": "Run the tests.\n```bash\npytest\n```"}
    whole = str(tokenizer.apply_chat_template([*messages, action], tokenize=False))
    ids = state_ids(tokenizer, messages) + action_ids(tokenizer, action["content"])
    assert tokenizer.decode(ids) == whole.rstrip("\n")


def test_the_end_of_an_action_is_the_template_s(tokenizer: PreTrainedTokenizerBase) -> None:
    assert {tokenizer.decode([token]) for token in action_end(tokenizer)} == {"<|im_end|>"}


def test_a_tokenizer_without_the_templates_marks_ends_an_action_with_its_end_of_sequence() -> None:
    words = Tokenizer(WordLevel({"<unk>": 0, "</s>": 1, "ls": 2}, unk_token="<unk>"))
    plain = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", eos_token="</s>")
    assert action_end(plain) == {1}
