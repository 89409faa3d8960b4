"""Tool calls and streams through the gateway, with the official client; and how a model that has only text calls."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import openai
import pytest
from gateway_room import Run
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from rollin.chat import IN_WORDS, action_ids, knowing_tools, state_ids
from rollin.messages import Function, Message, Tool, ToolCall, offered, offering, read, spelled, usable
from rollin.mixture import Actor, Constant, Student, TurnMixture
from rollin.policies.base import Action, Request, Sampling
from rollin.policies.local import LocalPolicy
from rollin.store import LabelStatus
from rollin.training.settings import TrainingSettings
from rollin.training.trainer import train
from rollin.training.trie import Sample, pack

TEACHER = TurnMixture(beta=Constant(value=1.0))
BASH: Tool = {
    "type": "function",
    "function": {
        "name": "bash",
        "description": "Run a command.",
        "parameters": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
    },
}
DEEP = '<tool_call>{"name": "bash", "arguments": ' + "[" * 99_999 + "]" * 99_999 + "}</tool_call>"
"""Deeper than any reader of JSON goes."""
ASK = [{"role": "user", "content": "repair it"}]
TOOL_TEMPLATE = (
    "{% if tools %}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for c in m.tool_calls or [] %}[{{ c.function.name }} {{ c.function.arguments.command }}]{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""One that knows tools and writes calls in its own way, with their arguments as an object."""


def call(command: str, number: int = 0, name: str = "bash") -> ToolCall:
    function = Function(name=name, arguments=json.dumps({"command": command}))
    return {"id": f"call_{number}", "type": "function", "function": function}


def calling(*commands: str, words: str = "") -> Action:
    return Action(words, tool_calls=[call(command, number) for number, command in enumerate(commands)])


@pytest.fixture(params=["student", "teacher"])
def client(run: Run, request: pytest.FixtureRequest) -> openai.OpenAI:
    """Of a trajectory in which the student, or the teacher, acts; what both say is in `run`."""
    return run.client(run.gateway.open_session(run.spec(roll_in=Student() if request.param == "student" else TEACHER)))


def both_say(run: Run, *said: Action) -> None:
    run.student.script = run.teacher.script = lambda request: said[request.turn]


def test_log_probabilities_come_with_the_tokens_where_they_are_asked_for(
    run: Run, tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    policy = LocalPolicy(tiny_model, tokenizer, slots=2, context_tokens=2000)
    spec = run.spec(roll_in=Student())
    policies = {**spec.policies, Actor.STUDENT: policy}
    client = run.client(run.gateway.open_session(replace(spec, policies=policies, sampling={})))
    whole = client.chat.completions.create(model="m", messages=ASK, logprobs=True)  # type: ignore[arg-type]
    (turn,) = run.store.turns(1)
    said = whole.choices[0].logprobs
    assert said is not None
    assert said.content is not None
    assert [entry.logprob for entry in said.content] == turn.action.logprobs
    assert [entry.token for entry in said.content] == [
        tokenizer.decode([token]) for token in turn.action.token_ids or []
    ]
    run.gateway.await_labels()
    assert "logprobs" not in run.teacher.requests[0].asked, "a label needs none"
    stream = client.chat.completions.create(model="m", messages=ASK, logprobs=True, stream=True)  # type: ignore[arg-type]
    (streamed, *_) = [chunk.choices[0].logprobs for chunk in stream]
    assert streamed is not None
    assert streamed.model_dump() == said.model_dump(), "the same call again: the same answer, whole or in pieces"
    run.gateway.run(policy.close())


def test_calls_come_back_and_their_results_go_on(run: Run, client: openai.OpenAI) -> None:
    both_say(run, calling("ls", "pwd", words="Look."), Action("done"))
    first = client.chat.completions.create(model="m", messages=ASK, tools=[BASH])  # type: ignore[list-item]
    (choice,) = first.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "Look."
    assert [json.loads(c.function.arguments) for c in choice.message.tool_calls or []] == [  # type: ignore[union-attr]
        {"command": "ls"},
        {"command": "pwd"},
    ]
    results = [{"role": "tool", "tool_call_id": f"call_{number}", "content": f"saw {number}"} for number in range(2)]
    history = [*ASK, choice.message.model_dump(exclude_none=True), *results]
    second = client.chat.completions.create(model="m", messages=history, tools=[BASH])  # type: ignore[arg-type,list-item]
    assert (second.choices[0].message.content, second.choices[0].finish_reason) == ("done", "stop")
    run.gateway.await_labels()
    turns = run.store.turns(1)
    assert [turn.action for turn in turns] == [calling("ls", "pwd", words="Look."), Action("done")]
    assert [turn.label.tool_calls for turn in turns] == [turns[0].action.tool_calls, []]
    assert all(turn.label.agrees(turn.action) for turn in turns)
    tools, state = offered(run.store.state_messages(turns[1].state_id))
    assert tools == [BASH]
    assert state == [*ASK, turns[0].action.message, *results]
    asked = (run.student if turns[0].actor.value == "student" else run.teacher).requests[-1]
    assert offered(asked.messages) == ([BASH], state)


def test_a_message_without_words_has_null_content(run: Run, client: openai.OpenAI) -> None:
    both_say(run, calling("ls"))
    answer = client.chat.completions.create(model="m", messages=ASK, tools=[BASH])  # type: ignore[list-item]
    assert answer.choices[0].message.content is None


def test_a_stream_says_what_the_whole_answer_says(run: Run, client: openai.OpenAI) -> None:
    long = "A longer thought, in several pieces. " * 3
    both_say(run, calling("ls -l " * 9, "pwd", words=long), Action(long, completion_tokens=7, prompt_tokens=2))
    with client.chat.completions.stream(
        model="m",
        messages=ASK,
        tools=[BASH],
        stream_options={"include_usage": True},  # type: ignore[list-item]
    ) as stream:
        deltas = [event for event in stream if event.type == "content.delta"]
        whole = stream.get_final_completion()
    assert len(deltas) > 2
    message = whole.choices[0].message
    assert (message.content, whole.choices[0].finish_reason) == (long, "tool_calls")
    assert [c.function.arguments for c in message.tool_calls or []] == [
        c["function"]["arguments"] for c in calling("ls -l " * 9, "pwd").tool_calls
    ]
    history = [*ASK, {"role": "assistant", "content": "x"}]
    plain = client.chat.completions.create(
        model="m",
        messages=history,
        stream=True,
        stream_options={"include_usage": True},  # type: ignore[arg-type]
    )
    chunks = list(plain)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == long
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.total_tokens, chunks[-2].choices[0].finish_reason) == (9, "stop")


def test_a_stream_that_breaks_off_loses_no_turn(run: Run, client: openai.OpenAI) -> None:
    """The client hangs up after the first piece, and asks again: the same action, one turn."""
    both_say(run, Action("word " * 1000), Action("another"))
    stream = client.chat.completions.create(model="m", messages=ASK, stream=True)  # type: ignore[arg-type]
    next(iter(stream))
    stream.close()
    answer = client.chat.completions.create(model="m", messages=ASK)  # type: ignore[arg-type]
    assert answer.choices[0].message.content == "word " * 1000
    assert len(run.store.turns(1)) == 1


def test_what_the_recipe_does_not_decide_goes_on(run: Run, client: openai.OpenAI) -> None:
    both_say(run, Action("x"))
    client.chat.completions.create(
        model="m",
        messages=ASK,  # type: ignore[arg-type]
        tools=[BASH],  # type: ignore[list-item]
        tool_choice="required",
        stop=["\n"],
        response_format={"type": "json_object"},
        temperature=0.9,
        max_tokens=3,
        seed=4,
        user="me",
        extra_body={"min_p": 0.1},
    )
    (asked,) = run.student.requests or run.teacher.requests
    assert asked.asked == {
        "tool_choice": "required",
        "stop": ["\n"],
        "response_format": {"type": "json_object"},
        "min_p": 0.1,
    }


def test_a_resumed_trajectory_repeats_its_calls(run: Run) -> None:
    both_say(run, calling("ls"), Action("done"))
    spec = run.spec(roll_in=Student())
    for _ in range(2):
        key = run.gateway.open_session(spec)
        answer = run.client(key).chat.completions.create(model="m", messages=ASK, tools=[BASH])  # type: ignore[list-item]
        assert [c.id for c in answer.choices[0].message.tool_calls or []] == ["call_0"]
        run.gateway.close_session(key)
    assert len(run.student.requests) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        Action("", tool_calls=[call("ls", name="bsh")]),
        Action(""),
        Action("I would", finish_reason="length"),
        Action("", finish_reason="length", tool_calls=[call("ls")]),
        Action("I wo", finish_reason="content_filter"),
    ],
    ids=["nonsense", "nothing", "cut", "cut after a call", "filtered"],
)
def test_a_teacher_that_is_of_no_use_is_asked_again(run: Run, wrong: Action) -> None:
    """By another draw; and if that does not help, its label is counted and left out."""
    answers = {0: [wrong, calling("ls")], 1: [wrong] * 9}
    run.teacher.script = lambda request: answers[request.turn].pop(0)
    run.student.script = lambda request: calling("pwd")
    key = run.gateway.open_session(run.spec(roll_in=Student()))
    for history in (ASK, [*ASK, {"role": "user", "content": "go on"}]):
        run.client(key).chat.completions.create(model="m", messages=history, tools=[BASH])  # type: ignore[arg-type,list-item]
        run.gateway.await_labels()
    assert [turn.label.status for turn in run.store.turns(1)] == [LabelStatus.READY, LabelStatus.INVALID]
    assert len({request.seed for request in run.teacher.requests if request.turn == 0}) == 2
    assert run.store.label_counts(1)[LabelStatus.INVALID] == 1


def test_a_teacher_that_acts_and_is_cut_is_no_label(run: Run) -> None:
    run.teacher.script = lambda request: Action("I would", finish_reason="length")
    run.converse(run.gateway.open_session(run.spec(roll_in=TEACHER)), 1)
    (turn,) = run.store.turns(1)
    assert (turn.action.content, turn.label.status) == ("I would", LabelStatus.INVALID)


def test_usable_calls() -> None:
    assert usable([call("ls")], [BASH])
    assert not usable([call("ls", name="python")], [BASH])
    for arguments in ("ls", '{"command": ' + "[" * 99_999 + "]" * 99_999 + "}"):
        assert not usable([{**call("ls"), "function": {"name": "bash", "arguments": arguments}}], [BASH])


words = st.text(st.characters(codec="utf-8", exclude_characters="<>"), max_size=20).map(str.strip)
arguments = st.dictionaries(st.text(max_size=5), st.text(max_size=9) | st.integers() | st.none(), max_size=3)
plane = st.characters(codec="utf-8", max_codepoint=0xFFFF, exclude_categories=["Cc", "Cs"])
"""What SmolLM2's tokenizer brings back: it lacks some bytes, of control characters and of what lies beyond."""
cut_words = st.text(plane.filter(lambda sign: sign not in "<>"), max_size=20).map(str.strip)
cut_arguments = st.dictionaries(
    st.text(plane, max_size=5), st.text(plane, max_size=9) | st.integers() | st.none(), max_size=3
)


@given(said=words, called=st.lists(st.tuples(st.sampled_from(["bash", "look"]), arguments), max_size=3))
def test_what_is_spelled_out_is_read_back(said: str, called: list[tuple[str, dict[str, object]]]) -> None:
    calls: list[ToolCall] = [
        {"id": f"call_3_{number}", "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
        for number, (name, given) in enumerate(called)
    ]
    assert read(spelled(said, calls), 3) == (said, calls)


@pytest.mark.parametrize(
    "text",
    ["<tool_call>{}</tool_call>", '<tool_call>{"name": </tool_call>', "<tool_call>", "plain ", DEEP],
    ids=["nothing", "half", "open", "plain", "deep"],
)
def test_what_is_no_call_stays_text(text: str) -> None:
    assert read(text, 0) == (text, [])


spoken = st.lists(
    st.tuples(st.sampled_from(["system", "user", "assistant", "tool"]), cut_words), min_size=1, max_size=5
)


@given(said=spoken)
def test_a_template_that_is_told_of_tools_writes_what_has_none_as_before(
    tokenizer: PreTrainedTokenizerBase, said: list[tuple[str, str]]
) -> None:
    plain = tokenizer.get_chat_template().removeprefix(IN_WORDS)
    assert "tools" not in plain
    messages = [{"role": role, "content": content} for role, content in said]
    ways = [
        tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False, add_generation_prompt=True)
        for template in (plain, knowing_tools(plain))
    ]
    assert ways[0] == ways[1]


@given(
    said=spoken, called=st.lists(st.tuples(st.sampled_from(["bash", "look"]), cut_arguments), min_size=1, max_size=3)
)
def test_a_template_that_knew_no_tools_tells_of_them_and_of_calls(
    tokenizer: PreTrainedTokenizerBase, said: list[tuple[str, str]], called: list[tuple[str, dict[str, object]]]
) -> None:
    state: list[Message] = [offering([BASH]), *({"role": role, "content": content} for role, content in said)]
    calls: list[ToolCall] = [
        {"id": f"call_3_{number}", "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
        for number, (name, given) in enumerate(called)
    ]
    acted: Message = {"role": "assistant", "content": "Look.", "tool_calls": calls}
    told = tokenizer.decode(state_ids(tokenizer, [*state, acted]))
    assert told.count(f"\n{json.dumps(BASH['function'])}\n") == 1
    assert told.index("You may call these tools") < told.index("<|im_end|>")  # the system's message is the first
    if said and said[0][0] == "system":
        assert told.startswith(f"<|im_start|>system\n{said[0][1]}\n\nYou may call")
    action = tokenizer.decode(action_ids(tokenizer, "Look.", calls)).removesuffix("<|im_end|>")
    assert f"<|im_start|>assistant\n{action}<|im_end|>" in told
    assert read(action, 3) == ("Look.", calls)


def test_a_checkpoint_shows_tools_by_itself(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    """Whoever serves it: transformers alone reads its template."""
    tokenizer.save_pretrained(tmp_path)
    there = AutoTokenizer.from_pretrained(tmp_path)
    said = [{"role": "user", "content": "x"}]
    ids = there.apply_chat_template(said, tools=[BASH], add_generation_prompt=True, return_dict=False)
    assert ids == state_ids(tokenizer, [offering([BASH]), {"role": "user", "content": "x"}])
    assert knowing_tools(there.chat_template) == there.chat_template


def test_a_developer_is_the_system_where_the_template_knows_none(tokenizer: PreTrainedTokenizerBase) -> None:
    said: list[list[Message]] = [
        [{"role": role, "content": "Be brief."}, {"role": "user", "content": "Hi."}] for role in ("developer", "system")
    ]
    assert state_ids(tokenizer, said[0]) == state_ids(tokenizer, said[1])


def test_a_template_that_knows_tools_writes_them_its_own_way(tokenizer: PreTrainedTokenizerBase) -> None:
    before, tokenizer.chat_template = tokenizer.chat_template, TOOL_TEMPLATE
    try:
        state: list[Message] = [offering([BASH]), {"role": "user", "content": "x"}]
        action = Action("Look.", tool_calls=[call("ls")])
        following = [*state, action.message, Message(role="tool", tool_call_id="call_0", content="a.py")]
        ids, said = state_ids(tokenizer, state), action_ids(tokenizer, action.content, action.tool_calls)
        assert tokenizer.decode(said) == "Look.[bash ls]<|im_end|>"
        longer = state_ids(tokenizer, following)
        assert longer[: len(ids) + len(said)] == [*ids, *said]
    finally:
        tokenizer.chat_template = before


def test_a_student_learns_to_call(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    """From a label with a call, through training, to an action with that call; without tools it is text."""
    state: list[Message] = [offering([BASH]), {"role": "user", "content": "x"}]
    label = action_ids(tokenizer, "Look.", [call("ls")])
    tries = [pack([Sample(state_ids(tokenizer, asked), label) for asked in (state, state[1:])])]
    settings = TrainingSettings(learning_rate=1e-2, epochs=150, schedule="constant_with_warmup")
    train(tiny_model, tries, settings, separate_tokens=1, work_dir=tmp_path, seed=0)
    policy = LocalPolicy(tiny_model, tokenizer)

    async def act(messages: list[Message], **asked: object) -> Action:
        return await policy.act(Request(messages, "t", 5, 0, Sampling(max_tokens=64), asked=asked))

    called, told = asyncio.run(act(state)), asyncio.run(act(state[1:]))
    kept = asyncio.run(act(state, tool_choice="none"))
    asyncio.run(policy.close())
    assert (kept.text, kept.tool_calls) == (called.text, [])
    assert (called.content, called.tool_calls) == ("Look.", [{**call("ls"), "id": "call_5_0"}])
    assert (told.content, told.tool_calls) == (spelled("Look.", [call("ls")]), [])
