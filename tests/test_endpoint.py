"""A policy behind a URL: `transformers serve` with a tiny model, our own gateway, and servers made for a test."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from endpoint_room import asking, completion, error, question, server, transformers_serve
from scripted import ScriptedPolicy, make_task
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from rollin.errors import ContextOverflow, InfrastructureFault, UserError
from rollin.gateway import Gateway, SessionSpec
from rollin.mixture import Actor, Student
from rollin.policies.base import Action, Sampling
from rollin.policies.endpoint import EndpointPolicy
from rollin.store import LabelStatus, Purpose, Store

KEY = "ROLLIN_TEST_KEY"


def make_tiny_model(folder: Path) -> None:
    """Bytes as tokens, two random layers, 512 positions."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = ["<|end|>", "<|start|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({token: at for at, token in enumerate(vocabulary)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", bos_token="<|start|>")
    fast.chat_template = "{% for m in messages %}<|start|>{{m.role}}\n{{m.content}}<|end|>{% endfor %}<|start|>"
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(vocabulary), eos_token_id=0, bos_token_id=1, pad_token_id=0, **sizes)
    model = LlamaForCausalLM(config)
    model.generation_config.do_sample = True
    model.save_pretrained(folder)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """(base URL, model) of a `transformers serve`."""
    folder = tmp_path_factory.mktemp("tiny")
    make_tiny_model(folder)
    with transformers_serve(folder) as url:
        yield url, str(folder)


def test_a_served_model_answers(served: tuple[str, str]) -> None:
    policy = EndpointPolicy(*served)
    _, action = asking(policy, policy.check, lambda: policy.act(question()))
    assert isinstance(action, Action)
    assert (action.finish_reason, action.completion_tokens) == ("length", 8)
    assert action.prompt_tokens > 5
    assert action.seconds > 0
    assert action.token_ids is None


def test_a_seed_decides_what_a_served_model_says(served: tuple[str, str]) -> None:
    policy = EndpointPolicy(*served)
    said = asking(policy, *(lambda s=s: policy.act(question(seed=s, temperature=1.0)) for s in (1, 2, 1)))  # type: ignore[misc]
    assert said[0].content == said[2].content != said[1].content


def test_greedy_is_greedy(served: tuple[str, str]) -> None:
    policy = EndpointPolicy(*served)
    said = asking(policy, *(lambda s=s: policy.act(question(seed=s)) for s in (1, 2)))  # type: ignore[misc]
    assert said[0].content == said[1].content


def test_a_trajectory_through_gateway_and_endpoint(served: tuple[str, str], tmp_path: Path) -> None:
    with Store.create(tmp_path / "run.db", {}) as store, Gateway(store) as gateway:
        task, policy = make_task(), EndpointPolicy(*served)
        store.add_tasks([task])
        row = store.open_trajectory(
            task.instance_id, iteration=1, attempt=0, purpose=Purpose.COLLECT, policy="s", seed=0
        )
        sampling = {actor: Sampling(max_tokens=4) for actor in Actor}
        spec = SessionSpec(row, task, Student(), {Actor.STUDENT: policy}, policy, sampling)
        key = gateway.open_session(spec)
        messages = [{"role": "user", "content": "hi"}]
        httpx.post(
            f"{gateway.url}/chat/completions",
            json={"messages": messages},
            headers={"Authorization": f"Bearer {key}"},
            timeout=60,
        ).raise_for_status()
        assert gateway.await_labels().invalid == 1
        gateway.run(policy.close())
        (turn,) = store.turns(row.id)
    assert (turn.action.finish_reason, turn.action.completion_tokens) == ("length", 4)
    assert turn.label.status is LabelStatus.INVALID, "what is cut may be acted on, and teaches nothing"


def test_an_unknown_model_is_said_before_the_run(served: tuple[str, str]) -> None:
    policy = EndpointPolicy(served[0], "nope")
    with pytest.raises(UserError, match="nope"):
        asking(policy, policy.check)


def test_a_server_that_is_not_there_is_said_before_the_run() -> None:
    policy = EndpointPolicy("http://127.0.0.1:9/v1", "m")
    with pytest.raises(UserError, match=r"nothing answers at http://127.0.0.1:9/v1"):
        asking(policy, policy.check)


def test_a_wrong_path_is_said_before_the_run(served: tuple[str, str]) -> None:
    policy = EndpointPolicy(served[0].removesuffix("/v1"), served[1])
    with pytest.raises(UserError, match="not an API's base URL"):
        asking(policy, policy.check)


def test_a_key_that_is_refused_is_said_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.create(tmp_path / "run.db", {}) as store, Gateway(store) as gateway:
        policy = EndpointPolicy(gateway.url, "m", api_key_env=KEY)
        with pytest.raises(UserError, match=f"{KEY} is not set"):
            asking(policy, policy.check)
        monkeypatch.setenv(KEY, "secret-1234")
        policy = EndpointPolicy(gateway.url, "m", api_key_env=KEY)
        with pytest.raises(UserError, match=f"{KEY} holds another") as caught:
            asking(policy, policy.check)
    assert "secret-1234" not in str(caught.value)


def test_a_key_that_a_server_quotes_is_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async def quoting(request: HttpRequest) -> Response:
        return error(400, f"bad key {request.headers['authorization']}")

    monkeypatch.setenv(KEY, "secret-1234")
    with server(quoting) as url:
        policy = EndpointPolicy(url, "m", api_key_env=KEY)
        with pytest.raises(InfrastructureFault) as caught:
            asking(policy, lambda: policy.act(question()))
    assert "secret-1234" not in str(caught.value)


def test_the_gateways_overflow_is_an_overflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.create(tmp_path / "run.db", {}) as store, Gateway(store) as gateway:
        store.add_tasks([make_task()])
        row = store.open_trajectory(
            make_task().instance_id, iteration=1, attempt=0, purpose=Purpose.EVAL, policy="s", seed=0
        )
        full = ScriptedPolicy("s", lambda request: ContextOverflow("600 tokens of 512"))
        monkeypatch.setenv(KEY, gateway.open_session(SessionSpec(row, make_task(), Student(), {Actor.STUDENT: full})))
        policy = EndpointPolicy(gateway.url, "m", api_key_env=KEY)
        with pytest.raises(ContextOverflow, match="600 tokens of 512"):
            asking(policy, lambda: policy.act(question()))


def test_what_is_asked_is_the_runs_and_extra_fields_win() -> None:
    asked = []

    async def listening(request: HttpRequest) -> Response:
        asked.append(await request.json())
        return JSONResponse(completion(None))

    with server(listening) as url:
        policy = EndpointPolicy(url, "m", extra={"max_tokens": None, "max_completion_tokens": 5, "logprobs": True})
        (action,) = asking(policy, lambda: policy.act(question("hi", seed=2**62 + 7, temperature=0.5)))
    messages = [{"role": "user", "content": "hi"}]
    sampling = {"temperature": 0.5, "top_p": 1.0, "max_completion_tokens": 5, "logprobs": True, "seed": 7}
    assert asked == [{"model": "m", "messages": messages, **sampling}]
    assert action.content == ""


def test_the_environments_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "localhost,10.0.0.1")
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert EndpointPolicy("https://api.example.org/v1", "m")._proxy == "http://proxy:3128"
    assert EndpointPolicy("http://10.0.0.1:8000/v1", "m")._proxy is None
    policy = EndpointPolicy("http://api.example.org/v1", "m")
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9"):
        asking(policy, policy.check)


def test_tokens_are_kept_when_a_server_gives_them() -> None:
    """vLLM's shape."""
    tokens = {"content": [{"token": "l", "logprob": -0.5, "bytes": [1]}, {"token": "s", "logprob": -1.5}]}

    async def vllm(request: HttpRequest) -> Response:
        wanted = (await request.json()).get("return_token_ids")
        return JSONResponse(completion(token_ids=[7, 8] if wanted else None, logprobs=tokens))

    with server(vllm) as url:
        policy = EndpointPolicy(url, "m", extra={"return_token_ids": True})
        (action,) = asking(policy, lambda: policy.act(question()))
        assert (action.token_ids, action.logprobs) == ([7, 8], [-0.5, -1.5])
        policy = EndpointPolicy(url, "m")
        (action,) = asking(policy, lambda: policy.act(question()))
        assert (action.token_ids, action.logprobs, action.logprobs_answered) == (None, None, None)
        (action,) = asking(policy, lambda: policy.act(replace(question(), asked={"logprobs": True})))
        assert action.logprobs_answered == tokens["content"]


def test_requests_wait_for_their_turn() -> None:
    times: list[float] = []

    async def answer(request: HttpRequest) -> Response:
        times.append(time.monotonic())
        return JSONResponse(completion())

    async def five() -> None:
        await asyncio.gather(*(policy.act(question()) for _ in range(5)))

    with server(answer) as url:
        policy = EndpointPolicy(url, "m", requests_per_minute=600)
        asking(policy, five)
    assert len(times) == 5
    assert times[-1] - times[0] > 0.35, times
