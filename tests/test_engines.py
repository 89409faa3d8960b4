"""Students and teachers at servers of vLLM and SGLang: our own server speaks as they do."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import torch
from endpoint_room import question
from engine_server import EngineServer
from run_room import finish, rollin, write_recipe
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rollin.chat import IN_WORDS, state_ids
from rollin.errors import InfrastructureFault, UserError
from rollin.learner import Learner
from rollin.models import load_model, load_tokenizer
from rollin.policies.base import Policy
from rollin.policies.engines import engines
from rollin.recipe import Served, StudentSettings, parse_recipe
from rollin.store import Purpose, Store
from rollin.training.samples import scored
from rollin.training.trie import Sample

ENGINES = ("vllm", "sglang")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def server(tiny_directory: Path) -> Iterator[tuple[EngineServer, str]]:
    made = EngineServer(tiny_directory)
    with made.listening() as url:
        yield made, url


def said(run: Path) -> dict[tuple[str, int], list[str]]:
    """(task, iteration) -> what the student said when it was evaluated."""
    with Store.read(run / "run.db") as store:
        rows = store.trajectories(purpose=Purpose.EVAL)
        return {(row.instance_id, row.iteration): [turn.action.text for turn in store.turns(row.id)] for row in rows}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.slow
def test_a_student_acts_at_its_server_with_the_weights_of_each_iteration(
    tmp_path: Path, cache: Path, tiny_directory: Path, server: tuple[EngineServer, str], engine: str
) -> None:
    served, url = server
    recipe = write_recipe(tmp_path / "small.yaml", tiny_directory)
    finish(rollin(cache, "run", recipe, "--out", tmp_path / "here"))
    there = f"student.served={{engine: {engine}, base_url: {url}, model: m}}"
    finish(rollin(cache, "run", recipe, there, "--out", tmp_path / "there"))
    checkpoints = tmp_path / "there" / "checkpoints"
    # each before it acts, whether or not it was the last one: the server may have been started anew
    assert served.loaded == [str(checkpoints / f"iteration-{number}") for number in (0, 0, 1, 2)]
    assert served.emptied == (4 if engine == "vllm" else 0)
    last = load_model(str(checkpoints / "iteration-2")).state_dict()
    assert all(torch.equal(last[name], weight) for name, weight in served.policy.model.state_dict().items())
    assert said(tmp_path / "here") == said(tmp_path / "there")
    with Store.read(tmp_path / "there" / "run.db") as store:
        turns = [turn for row in store.trajectories(purpose=Purpose.EVAL) for turn in store.turns(row.id)]
    assert all(turn.action.token_ids and turn.action.logprobs for turn in turns)


@pytest.mark.slow
def test_a_server_that_takes_no_weights_stops_the_run_which_goes_on_later(
    tmp_path: Path, cache: Path, tiny_directory: Path, server: tuple[EngineServer, str]
) -> None:
    recipe = write_recipe(tmp_path / "small.yaml", tiny_directory, iterations=1)
    closed = EngineServer(tiny_directory, dev_mode=False)
    with closed.listening() as url:
        there = f"student.served={{engine: vllm, base_url: {url}, model: m}}"
        printed = finish(rollin(cache, "run", recipe, there, "--out", tmp_path / "run"), 3)
    assert "/collective_rpc failed (404)" in " ".join(printed.split())
    assert f"rollin resume {tmp_path / 'run'}" in " ".join(printed.split())
    refused = finish(rollin(cache, "resume", tmp_path / "run", "training.learning_rate=1"), 2)
    assert "training.learning_rate can't change in a run that has begun" in " ".join(refused.split())
    served, url = server
    finish(rollin(cache, "resume", tmp_path / "run", f"student.served.base_url={url}"))  # it is elsewhere by now
    assert [Path(place).name for place in served.loaded] == ["iteration-0", "iteration-0", "iteration-1"]
    finish(rollin(cache, "resume", tmp_path / "run"))  # which is remembered
    assert url in (tmp_path / "run" / "recipe.yaml").read_text()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_server_that_was_started_anew_takes_the_weights_again(
    tmp_path: Path,
    tiny_directory: Path,
    tokenizer: PreTrainedTokenizerBase,
    engine: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It comes back with those that it was started with."""
    monkeypatch.setattr("rollin.policies.endpoint.backoff", lambda *_: 0.0)
    trained, first = load_model(str(tiny_directory)), EngineServer(tiny_directory)
    with torch.no_grad():
        trained.get_output_embeddings().weight.normal_(generator=torch.Generator().manual_seed(1))
    asked = question("Which way?", temperature=1.0, max_tokens=12)

    async def work(policy: Policy) -> list[list[int] | None]:
        said = []
        try:
            said.append((await policy.act(asked)).token_ids)
            await asyncio.to_thread(down.close)
            with pytest.raises(InfrastructureFault):
                await policy.act(asked)
            with second.listening(port):
                said += [(await policy.act(asked)).token_ids for _ in range(2)]
        finally:
            await learner.close()
        return said

    with ExitStack() as down:
        url = down.enter_context(first.listening())
        port, second = urlsplit(url).port or 0, EngineServer(tiny_directory)
        served = Served(engine=engine, base_url=url, model="m")
        learner = Learner(StudentSettings(model=str(tiny_directory), served=served), tmp_path, slots=1)
        trained.save_pretrained(learner.checkpoint(1))
        tokenizer.save_pretrained(learner.checkpoint(1))
        before, *after = asyncio.run(work(learner.at(1)))
    assert after == [before, before]
    assert second.loaded == [str(learner.checkpoint(1))]


@pytest.mark.parametrize("engine", ENGINES)
def test_scores_are_the_models_own(
    tiny_directory: Path, server: tuple[EngineServer, str], engine: Any, tokenizer: PreTrainedTokenizerBase
) -> None:
    _, url = server
    groups = [[Sample([5, 6, 7], [8, 9]), Sample([5, 6, 7, 8, 9, 4], [3])], [Sample([1], [2, 2, 2])]]
    scorer = engines(engine, [url, url], "m", "NO_KEY")
    scorer.check_tokens(tokenizer)
    model = load_model(str(tiny_directory))
    for sample in (sample for group in scored(groups, scorer) for sample in group):
        with torch.inference_mode():
            log_p = model(torch.tensor([sample.state + sample.label])).logits[0].log_softmax(-1)
        expected = [log_p[len(sample.state) - 1 + place, token].item() for place, token in enumerate(sample.label)]
        assert sample.teacher == pytest.approx(expected, abs=1e-4)


def test_a_server_that_keeps_its_cache_is_a_fault(tiny_directory: Path, server: tuple[EngineServer, str]) -> None:
    served, url = server
    served.empties = False
    with pytest.raises(InfrastructureFault, match="keeps keys and values of its old weights"):
        engines("vllm", url, "m", "NO_KEY").load(tiny_directory)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.slow
def test_a_student_is_distilled_from_a_teacher_at_a_server(
    tmp_path: Path, cache: Path, tiny_directory: Path, tiny_model: PreTrainedModel, engine: str
) -> None:
    """The loss is that of the same teacher in this process."""
    with torch.no_grad():
        for parameter in tiny_model.parameters():
            parameter *= 1.2  # another model than the student
    tiny_model.save_pretrained(tmp_path / "teacher")
    load_tokenizer(str(tiny_directory)).save_pretrained(tmp_path / "teacher")
    losses = []
    with EngineServer(tmp_path / "teacher").listening() as url:
        for name, teacher in {
            "local": {"kind": "local", "model": str(tmp_path / "teacher"), "precision": "float32"},
            "served": {"kind": "endpoint", "base_url": url, "model": "m", "engine": engine},
        }.items():
            chance = {"model": str(tiny_directory), "sampling": {"temperature": 1.0, "max_tokens": 12}}
            changes = {"student": chance | {"precision": "float32"}, "teacher": teacher, "iterations": 1}
            recipe = write_recipe(tmp_path / f"{name}.yaml", tiny_directory, method="opd", **changes)
            options = ("evaluation.base=false", "evaluation.when=ends", "concurrency=1")
            finish(rollin(cache, "run", recipe, *options, "--out", tmp_path / name))
            with Store.read(tmp_path / name / "run.db") as store:
                losses.append(store.iterations()[-1].metrics["training"]["loss"])  # type: ignore[index]
    assert abs(losses[0]) > 0.01
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_another_tokenizer_is_refused(tiny_directory: Path, tmp_path: Path) -> None:
    from test_endpoint import make_tiny_model

    make_tiny_model(tmp_path)
    other = EngineServer(tiny_directory, tokenizer=str(tmp_path))
    with other.listening() as url, pytest.raises(UserError, match="another tokenizer than the student"):
        engines("vllm", url, "m", "NO_KEY").check_tokens(EngineServer(tiny_directory).tokenizer)


def test_a_server_that_shows_its_model_other_chats_is_refused(
    tmp_path: Path, tiny_directory: Path, server: tuple[EngineServer, str], tokenizer: PreTrainedTokenizerBase
) -> None:
    served, url = server
    engines("vllm", url, "m", "NO_KEY").check_chat(partial(state_ids, tokenizer), tmp_path)
    template = str(served.tokenizer.chat_template)
    for other, what in ((template.removeprefix(IN_WORDS) + "{# tools #}", "tools"), (f"Hi. {template}", "chats")):
        served.tokenizer.chat_template = other
        with pytest.raises(UserError, match=f"writes {what} otherwise .* start it with --chat-template {tmp_path}"):
            engines("vllm", url, "m", "NO_KEY").check_chat(partial(state_ids, tokenizer), tmp_path)
        engines("sglang", url, "m", "NO_KEY").check_chat(partial(state_ids, tokenizer), tmp_path)  # it can't be asked


def test_scores_that_are_not_there_are_a_fault(tiny_directory: Path) -> None:
    with pytest.raises(InfrastructureFault, match="no answer"):
        engines("vllm", "http://127.0.0.1:9/v1", "m", "NO_KEY").score([([1, 2], 1)])


def test_what_is_no_engine_is_said(tiny_directory: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    async def nothing(request: HttpRequest) -> Response:
        return JSONResponse({"choices": [{"text": ""}]})

    odd = EngineServer(tiny_directory)
    odd.prompt_logprobs = odd.tokenize = nothing  # type: ignore[method-assign]
    with odd.listening() as url:
        with pytest.raises(InfrastructureFault, match="did not give each token's log-probability as vllm does"):
            engines("vllm", url, "m", "NO_KEY").score([([1, 2], 1)])
        with pytest.raises(UserError, match="another tokenizer"):
            engines("vllm", url, "m", "NO_KEY").check_tokens(tokenizer)
    with pytest.raises(UserError, match="check that it is sglang that serves there"):
        engines("sglang", url, "m", "NO_KEY").check_tokens(tokenizer)


def test_what_a_server_can_not_give_is_said_first(tiny_directory: Path) -> None:
    teacher: dict[str, object] = {"kind": "endpoint", "base_url": "http://127.0.0.1:9/v1", "model": "m"}
    tasks = [{"source": "kata", "family": "visible", "count": 1}]
    recipe: dict[str, Any] = {"method": "opd", "teacher": teacher, "tasks": {"train": tasks, "eval": tasks}}
    recipe["tasks_per_iteration"] = 1
    with pytest.raises(UserError, match="of an endpoint with an engine"):
        parse_recipe(recipe, "here")
    parse_recipe(recipe | {"teacher": teacher | {"engine": "vllm"}}, "here")
    exact = {"name": "opd", "objective": {"kind": "reverse_kl", "estimate": "exact"}}
    with pytest.raises(UserError, match="needs the log-probabilities"):
        parse_recipe(recipe | {"method": exact, "teacher": teacher | {"engine": "vllm"}}, "here")
