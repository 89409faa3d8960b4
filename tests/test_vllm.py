"""A vLLM itself, on the processor: `make test-vllm`. What it is asked for stands in policies/engines.py."""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path

import pytest
import torch
from endpoint_room import VLLM, asking, free_port, question, vllm_serve
from run_room import finish, rollin, write_recipe
from test_engines import said
from test_tools import BASH, call
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rollin.chat import action_ids, state_ids
from rollin.errors import InfrastructureFault
from rollin.learner import Learner
from rollin.messages import Message, arguments_of, offering
from rollin.models import PACKAGED, load_model
from rollin.policies.base import Policy, Request, Sampling
from rollin.policies.endpoint import EndpointPolicy
from rollin.policies.engines import Engines, engines
from rollin.recipe import Served, StudentSettings
from rollin.store import Store
from rollin.training.settings import TrainingSettings
from rollin.training.trainer import train
from rollin.training.trie import Sample, pack

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not VLLM.exists(), reason="no vLLM: `make vllm` installs one, VLLM_PYTHON names another"),
]
KEPT = {"logprobs": True, "return_token_ids": True}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase) -> Path:
    """The packaged student as a run saves it."""
    return saved(load_model(PACKAGED), tokenizer, tmp_path_factory.mktemp("student"))


def saved(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def url(checkpoint: Path) -> Iterator[str]:
    with vllm_serve(checkpoint, "--dtype", "float32") as url:
        yield url


@pytest.fixture
def server(url: str, checkpoint: Path) -> Engines:
    """With the packaged student's weights, whatever a test before loaded."""
    there = engines("vllm", url, "student", "NO_KEY")
    there.load(checkpoint)
    return there


def log_p(model: PreTrainedModel, tokens: list[int], first: int) -> list[float]:
    with torch.inference_mode():
        every = model(torch.tensor([tokens])).logits[0].float().log_softmax(-1)
    return [every[place - 1, tokens[place]].item() for place in range(first, len(tokens))]


TIED = pytest.mark.xfail(strict=True, reason="its build for processors keeps a tied output layer as it began")


@pytest.mark.parametrize("moved", ["layers", pytest.param("embeddings", marks=TIED)])
def test_new_weights_are_what_it_scores_by(
    server: Engines, checkpoint: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path, moved: str
) -> None:
    """With no key or value of the old ones left in its cache."""
    tokens = tokenizer.encode("The tests fail: name 'valeu' is not defined, in line 12 of a.py. " * 4)
    model = load_model(PACKAGED)
    before = server.score([(tokens, 5)])[0]
    assert before == pytest.approx(log_p(model, tokens, 5), abs=1e-3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ("embed" in name) == (moved == "embeddings"):
                parameter *= 1.03
    server.load(saved(model, tokenizer, tmp_path / "other"))
    after = server.score([(tokens, 5)])[0]
    server.load(checkpoint)
    assert server.score([(tokens, 5)])[0] == pytest.approx(before, abs=1e-4)
    assert after == pytest.approx(log_p(model, tokens, 5), abs=1e-3)


def test_it_cuts_text_and_writes_chats_and_tools_as_the_student(
    server: Engines, checkpoint: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    server.check_tokens(tokenizer)
    server.check_chat(partial(state_ids, tokenizer), checkpoint)


def test_a_student_acts_there_and_its_tokens_are_kept(
    server: Engines, url: str, tokenizer: PreTrainedTokenizerBase
) -> None:
    policy = EndpointPolicy(url, "student", extra=KEPT)
    asked = question("Name three colours.", temperature=1.0, top_p=1.0, max_tokens=24)
    [action] = asking(policy, lambda: policy.act(asked))
    assert action.token_ids is not None
    assert tokenizer.decode(action.token_ids, skip_special_tokens=True) == action.content
    state = state_ids(tokenizer, asked.messages)
    assert action.prompt_tokens == len(state)
    expected = log_p(load_model(PACKAGED), [*state, *action.token_ids], len(state))
    assert action.logprobs == pytest.approx(expected, abs=2e-3)


def test_a_student_that_learned_to_call_calls_there(
    server: Engines, url: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    state: list[Message] = [offering([BASH]), {"role": "user", "content": "x"}]
    label = action_ids(tokenizer, "Look.", [call("grep -n é a.py")])
    model = load_model(PACKAGED)
    settings = TrainingSettings(learning_rate=1e-3, epochs=12, schedule="constant_with_warmup", warmup_fraction=0)
    train(
        model,
        [pack([Sample(state_ids(tokenizer, state), label)])],
        settings,
        separate_tokens=1,
        work_dir=tmp_path / "work",
        seed=0,
    )
    server.load(saved(model, tokenizer, tmp_path / "caller"))
    policy = EndpointPolicy(url, "student", extra=KEPT)
    request = Request(state, "1", 0, 0, Sampling(temperature=0.0, max_tokens=64))
    [action] = asking(policy, lambda: policy.act(request))
    assert action.content.strip() == "Look."
    [made] = action.tool_calls
    assert (made["function"]["name"], arguments_of(made)) == ("bash", {"command": "grep -n é a.py"})
    assert action.token_ids == label


def test_started_anew_it_takes_the_weights_again(
    checkpoint: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    model, port = load_model(PACKAGED), free_port()
    with torch.no_grad():
        for layer in model.get_decoder().layers:
            layer.mlp.down_proj.weight *= 1.1
    asked = question("Name three colours.", max_tokens=24)
    served = Served(engine="vllm", base_url=f"http://127.0.0.1:{port}/v1", model="student")
    settings = StudentSettings(model=str(checkpoint), served=served)

    def serving() -> AbstractContextManager[str]:
        return vllm_serve(checkpoint, "--dtype", "float32", port=port)

    async def work(policy: Policy, down: ExitStack) -> list[str]:
        said = [(await policy.act(asked)).content]
        await asyncio.to_thread(down.close)
        with pytest.raises(InfrastructureFault):
            await policy.act(asked)
        with serving():
            said += [(await policy.act(asked)).content for _ in range(2)]
        await policy.close()
        return said

    with ExitStack() as down:
        down.enter_context(serving())
        learner = Learner(settings, tmp_path, slots=1)
        saved(model, tokenizer, learner.checkpoint(1))
        before, *after = asyncio.run(work(learner.at(1), down))
    assert after == [before, before]
    with serving() as url:
        untrained = EndpointPolicy(url, "student")
        assert asking(untrained, lambda: untrained.act(asked))[0].content != before


def test_a_run_there_says_what_a_run_here_says(tmp_path: Path, url: str, checkpoint: Path) -> None:
    training = {"learning_rate": 1e-3, "parameters": "top_layers", "top_layers": 12}  # see TIED
    recipe = write_recipe(tmp_path / "small.yaml", checkpoint, training=training)
    cache = tmp_path / "cache"
    finish(rollin(cache, "run", recipe, "--out", tmp_path / "here"))
    there = f"student.served={{engine: vllm, base_url: {url}, model: student}}"
    finish(rollin(cache, "run", recipe, there, "--out", tmp_path / "there"))
    assert said(tmp_path / "here") == said(tmp_path / "there")


def test_a_teacher_there_teaches_as_one_here(
    tmp_path: Path, server: Engines, url: str, checkpoint: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    model = load_model(PACKAGED)
    with torch.no_grad():
        for layer in model.get_decoder().layers:
            layer.mlp.down_proj.weight *= 1.1  # another model than the student
    teacher = saved(model, tokenizer, tmp_path / "teacher")
    server.load(teacher)
    losses = []
    for name, settings in {
        "local": {"kind": "local", "model": str(teacher), "precision": "float32"},
        "served": {"kind": "endpoint", "base_url": url, "model": "student", "engine": "vllm"},
    }.items():
        student = {"model": str(checkpoint), "sampling": {"temperature": 1.0, "max_tokens": 12}, "precision": "float32"}
        changes = {"student": student, "teacher": settings, "iterations": 1, "method": "opd"}
        recipe = write_recipe(tmp_path / f"{name}.yaml", checkpoint, **changes)
        options = ("evaluation.base=false", "evaluation.when=ends", "concurrency=1")
        finish(rollin(tmp_path / "cache", "run", recipe, *options, "--out", tmp_path / name))
        with Store.read(tmp_path / name / "run.db") as store:
            losses.append(store.iterations()[-1].metrics["training"]["loss"])  # type: ignore[index]
    assert abs(losses[0]) > 0.01
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)
