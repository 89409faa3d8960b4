"""`rollin plan`: exact counts, a rehearsal that holds what a real step holds, and what is said where it won't fit."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scripted import make_task
from transformers import PreTrainedTokenizerBase
from typer.testing import CliRunner

from rollin.cli import app
from rollin.errors import UserError
from rollin.method import METHODS
from rollin.mixture import Linear, PrefixSwitch
from rollin.models import PACKAGED, load_model
from rollin.planning.assumptions import Assumptions, assumed
from rollin.planning.describing import Size, describe
from rollin.planning.findings import GIB, Plan, Verdict
from rollin.planning.machine import Machine
from rollin.planning.plan import Shapes, plan
from rollin.planning.rehearsal import Meter, Shape, rehearse
from rollin.planning.talking import CALL, check_talk
from rollin.planning.work import Work
from rollin.policies.ragged import ATTENTION
from rollin.recipe import Budget, Recipe, load_recipe
from rollin.store import Purpose, Store
from rollin.training.masks import matrix
from rollin.training.objectives import CrossEntropy
from rollin.training.settings import TrainingSettings
from rollin.training.trainer import as_inputs, select_parameters, trie_loss
from rollin.training.trie import Sample, pack

ROOT = Path(__file__).parents[1]
QUICKSTART = ROOT / "recipes" / "quickstart.yaml"
SMALL = ["training.top_layers=1", "concurrency=4", "student.precision=float32"]
PAPER = sorted((ROOT / "recipes" / "paper").glob("*.yaml"))
SIZE = Size(
    parameters=100,
    active=100,
    inner=80,
    linear=80,
    output=20,
    layers=2,
    attended=8,
    cached_values=16,
    positions=None,
)


def planned(recipe: Recipe, machine: Machine, *changes: str) -> Plan:
    return plan(recipe, Shapes.of(recipe), machine, assumed(recipe, machine.gpus, [*changes]))


@pytest.fixture(scope="module")
def small(tiny_directory: Path) -> Recipe:
    """The quickstart, with a student of 2 layers."""
    return load_recipe(QUICKSTART, [f"student.model={tiny_directory}", *SMALL])


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        ("Qwen/Qwen3-4B-Instruct-2507", 4_022_468_096),
        ("Qwen/Qwen3-8B", 8_190_735_360),
        ("Qwen/Qwen3-Coder-30B-A3B-Instruct", 30_532_122_624),
        (PACKAGED, 134_515_008),
    ],
)
def test_parameters_are_counted_exactly(model: str, parameters: int) -> None:
    assert describe(model).size.parameters == parameters


def test_of_a_mixture_of_experts_those_count_as_active_that_are_asked() -> None:
    assert describe("Qwen/Qwen3-Coder-30B-A3B-Instruct").size.active == pytest.approx(3.3e9, rel=0.02)  # its card


@pytest.mark.parametrize(
    "settings",
    [
        TrainingSettings(),
        TrainingSettings(batch_trajectories=4),
        TrainingSettings(parameters="top_layers", top_layers=1),
        TrainingSettings(parameters="lora"),
        TrainingSettings(gradient_checkpointing=True),
    ],
    ids=["full", "accumulated", "top_layers", "lora", "checkpointing"],
)
def test_a_rehearsal_holds_what_a_real_step_holds(tiny_directory: Path, settings: TrainingSettings) -> None:
    chance = torch.Generator().manual_seed(0)
    said = torch.randint(100, 40_000, (400,), generator=chance).tolist()
    trie = pack([Sample(said[:100], said[300:350]), Sample(said[:300], said[350:])])
    shape = Shape(len(trie), len(trie.target))
    rehearsed = rehearse(
        describe(str(tiny_directory)),
        settings,
        CrossEntropy(),
        shape,
        multiplied=torch.float32,
        on_gpu=False,
    )
    assert rehearsed.gradients + rehearsed.passing == pytest.approx(real_peak(tiny_directory, settings, trie), rel=0.01)


def real_peak(directory: Path, settings: TrainingSettings, trie: object) -> int:
    """Bytes that a real step held beside weights, moments and mask."""
    plain = load_model(str(directory), ATTENTION)
    model = select_parameters(plain, settings)
    if settings.gradient_checkpointing:
        plain.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    if settings.batch_trajectories > 1:
        trie_loss(model, as_inputs(trie, model.device)).backward()  # type: ignore[arg-type]
    held = [weight.grad for weight in model.parameters() if weight.grad is not None]
    inputs = as_inputs(trie, model.device)  # type: ignore[arg-type]
    hidden = matrix(inputs["end"], torch.float32)
    with Meter([*inputs.values(), hidden, *held, *model.parameters(), *model.buffers()]) as meter:
        trie_loss(model, inputs, hidden=hidden).backward()
    return meter.peak + sum(4 * each.numel() for each in held)


def test_gradient_checkpointing_changes_memory_and_no_gradient(tiny_directory: Path) -> None:
    trie, gradients = pack([Sample([*range(100, 300)], [5, 6, 7])]), []
    for checkpointing in (False, True):
        model = load_model(str(tiny_directory), ATTENTION)
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        model.train()
        trie_loss(model, as_inputs(trie, model.device)).backward()
        gradients.append(torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]))
    assert torch.allclose(*gradients)


def test_a_cache_of_keys_and_values_is_what_the_formula_says(small: Recipe) -> None:
    found = planned(small, Machine(16 * GIB)).figure("student acting", "keys and values")
    assert found.amount == 2 * 2 * 2 * 8 * 4 * 4096 * 4  # keys and values, layers, heads, size, slots, tokens, bytes


def test_what_fits_says_so_and_what_does_not_is_named_with_a_cure(small: Recipe) -> None:
    assert planned(small, Machine(16 * GIB)).verdict.startswith("everything fits")
    short = planned(small, Machine(0.6 * GIB)).short
    assert {finding.part for finding in short} == {"memory: training", "memory: acting"}
    assert all(finding.cure for finding in short)
    [disk] = planned(small, Machine(16 * GIB, disk=0.0)).short
    assert disk.part == "disk"


def test_a_gpu_holds_float32_weights_and_of_long_tries_no_matrix_of_what_is_hidden() -> None:
    for nodes, matrix_there in ((2048, True), (16384, False)):
        long = load_recipe(QUICKSTART, ["student.precision=float32", f"training.max_tokens={nodes}"])
        here, there = (planned(long, machine) for machine in (Machine(80 * GIB), Machine(80 * GIB, 1)))
        assert here.figure("training", "weights") == there.figure("training", "weights")
        assert here.figure("training", "attention mask").amount == 4 * nodes**2
        assert there.figure("training", "attention mask").amount == (4 * nodes**2 if matrix_there else 4)


def test_a_context_that_the_model_was_not_made_for_is_doubtful(small: Recipe) -> None:
    long = small.model_copy(update={"student": small.student.model_copy(update={"context_tokens": 8192})})
    [doubted] = [f for f in planned(long, Machine(16 * GIB)).findings if f.verdict is Verdict.DOUBTFUL]
    assert "4,096" in doubted.found


def test_a_conversation_with_a_call_comes_back(tiny_directory: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    assert tokenizer.chat_template
    for calls in ([CALL], []):
        assert check_talk(str(tiny_directory), calls).verdict is Verdict.FITS


def test_a_tokenizer_that_is_not_here_is_not_checked() -> None:
    assert check_talk("nobody/nothing", []).verdict is Verdict.UNCHECKED


def test_a_model_without_a_chat_template_cannot_talk(tiny_directory: Path, tmp_path: Path) -> None:
    for file in tiny_directory.iterdir():
        if file.suffix != ".jinja":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    assert check_talk(str(tmp_path), []).verdict is Verdict.SHORT


@given(st.integers(0, 60), st.floats(1, 100), st.integers(1, 5))
def test_a_teachers_share_lies_between_0_and_1(small: Recipe, t_max: int, turns: float, iteration: int) -> None:
    method = METHODS["aggrevate"].model_copy(update={"roll_in": PrefixSwitch(t_max=Linear(start=t_max, step=-2))})
    work = Work(
        small.model_copy(update={"method": method}),
        SIZE,
        trainable=1,
        eval_tasks=(1,),
        machine=Machine(GIB),
        assumed=Assumptions(turns=turns, prompt_tokens=1),
    )
    assert 0 <= work.teacher_share(iteration) <= 1


def test_the_students_turns_and_the_teachers_are_all_turns(small: Recipe) -> None:
    """72 trajectories of 6 turns of 60 tokens: the teacher acts at all of 56 and at half of 16, and labels all."""
    assert small.tasks_per_iteration == [56, 16]
    found = planned(small, Machine(16 * GIB))
    assert found.figure("work", "student: written").amount == pytest.approx(8 * 6 * 60)
    assert found.figure("work", "teacher: written").amount == pytest.approx(72 * 6 * 60)


@pytest.mark.parametrize(
    ("budget", "name", "amount"),
    [
        ("turns=120", "teacher: written", (10 + 10) * 6 * 60),  # of 56 and 16 trajectories 10 and 10 of 6 turns
        ("teacher_tokens=7200", "teacher: written", (10 + 10) * 6 * 60),
        ("training_tokens=5000", "student: trained", 5000),
        ("labels=12", "student: trained", None),
    ],
)
def test_a_budget_bounds_what_is_planned(small: Recipe, budget: str, name: str, amount: float | None) -> None:
    setting, _, limit = budget.partition("=")
    free = planned(small, Machine(16 * GIB)).figure("work", name).amount
    bounded = small.model_copy(update={"budget": Budget.model_validate({setting: int(limit)})})
    found = planned(bounded, Machine(16 * GIB)).figure("work", name).amount
    assert found == pytest.approx(amount) if amount else 0 < found < free


def test_demonstrations_are_trained_on_in_every_iteration(small: Recipe, tmp_path: Path) -> None:
    recipe = small.model_copy(update={"demonstrations": tmp_path})
    free = planned(recipe, Machine(16 * GIB))
    assert [finding.verdict for finding in free.findings if finding.part == "demonstrations"] == [Verdict.SHORT]
    with Store.create(tmp_path / "run.db", {}) as store:
        store.add_tasks([make_task()])
        for attempt in range(72):
            store.open_trajectory(
                "kata-roman-1", iteration=1, attempt=attempt, purpose=Purpose.COLLECT, policy="student", seed=0
            )
    found = planned(recipe, Machine(16 * GIB))
    assert not [finding for finding in found.findings if finding.part == "demonstrations"]
    assert found.figure("work", "student: trained").amount > 1.5 * free.figure("work", "student: trained").amount


def test_assumptions_can_be_changed_and_stand_beside_the_figure(small: Recipe) -> None:
    found = planned(small, Machine(16 * GIB), "turns=3").figure("work", "teacher: written")
    assert found.amount == pytest.approx(72 * 3 * 60)
    assert "3 turns" in found.origin
    assert "assumed turns" in found.origin


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--assume", "turns"], "key=value"),
        (["--assume", "turn=3"], "did you mean 'turns'"),
        (["--assume", "turns=many"], "--assume turns"),
        (["--student-config", "nowhere.json"], "nowhere.json"),
        (["training.top_layers=3"], "the model has 2 layers"),
        (["student.model=./nowhere"], "check the path"),
        (["iterations=0"], "iterations"),
    ],
)
def test_bad_input_is_one_sentence(small: Recipe, words: list[str], said: str) -> None:
    outcome = CliRunner().invoke(
        app, ["plan", str(QUICKSTART), f"student.model={small.student.model}", "training.top_layers=1", *words]
    )
    assert isinstance(outcome.exception, UserError), outcome.output
    assert said in str(outcome.exception)
    assert "\n" not in str(outcome.exception)


@pytest.mark.parametrize(
    "content",
    [
        *("no JSON", "[]", '{"model_type": "abacus"}', '{"model_type": "vit"}', '{"model_type": "mamba"}'),
        *('{"model_type": "llama", "hidden_size": "x"}', '{"model_type": "llama", "num_attention_heads": 0}'),
    ],
)
def test_a_description_of_no_language_model_is_one_sentence(small: Recipe, tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError) as error:
        _ = Shapes.of(small, tmp_path).student.size
    assert "\n" not in str(error.value)


def test_the_command_exits_with_1_where_something_does_not_fit(small: Recipe) -> None:
    words = ["plan", str(QUICKSTART), f"student.model={small.student.model}", *SMALL]
    outcome = CliRunner().invoke(app, [*words, "--memory-gb", "16", "--json"])
    assert outcome.exit_code == 0
    assert json.loads(outcome.output)["verdict"].startswith("everything fits")
    outcome = CliRunner().invoke(app, [*words, "--memory-gb", "3", "concurrency=4000"])
    assert outcome.exit_code == 1
    assert "1 thing does not fit" in outcome.output


@pytest.fixture
def answering() -> Iterator[str]:
    """The URL of a server that answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/v1/models" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_endpoints_are_asked_only_if_that_is_wanted(small: Recipe, answering: str) -> None:
    urls = [f"{answering}/v1", f"{answering}/elsewhere", "http://127.0.0.1:9/v1"]
    content = small.model_dump() | {"teacher": {"kind": "endpoint", "base_url": urls, "model": "big"}}
    recipe = Recipe.model_validate(content)
    shapes, machine = Shapes.of(recipe), Machine(16 * GIB)
    silent = plan(recipe, shapes, machine, assumed(recipe, 0, []))
    asked = plan(recipe, shapes, machine, assumed(recipe, 0, []), ask=True)
    assert not silent.short
    verdicts = [finding.verdict for finding in asked.findings if finding.part == "teacher's server"]
    assert verdicts == [Verdict.FITS, Verdict.SHORT, Verdict.SHORT]


def test_there_are_ten_recipes_of_the_paper() -> None:
    assert len(PAPER) == 10
    for path in PAPER:
        method, _, student = path.stem.partition("-")
        recipe = load_recipe(path)
        assert (recipe.name, recipe.method.name) == (f"paper-{path.stem}", method)
        assert student.upper() in recipe.student.model
        assert recipe.student.context_tokens == 65_536
        assert recipe.training.learning_rate == (1e-6 if method == "grpo" else 3e-6)


def test_the_papers_beta_falls_to_six_tenths() -> None:
    roll_in = load_recipe(ROOT / "recipes" / "paper" / "dagger-8b.yaml").method.roll_in
    assert roll_in.kind == "turn_mixture"
    assert [round(roll_in.beta.at(i), 3) for i in range(1, 6)] == [1.0, 0.8, 0.6, 0.6, 0.6]


@pytest.mark.slow
@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_a_recipe_of_the_paper_fits_eight_gpus_of_141_gb(path: Path) -> None:
    found = planned(load_recipe(path), Machine(141 * GIB, 8))
    assert not found.short, found.short


@pytest.mark.slow
def test_a_recipe_of_the_paper_does_not_fit_one_gpu_of_24_gb() -> None:
    found = planned(load_recipe(ROOT / "recipes" / "paper" / "dagger-4b.yaml"), Machine(24 * GIB, 1))
    assert {finding.part for finding in found.short} == {"memory: training", "GPUs"}


def test_the_page_has_every_assumption_with_its_default() -> None:
    page = (ROOT / "docs" / "plan.md").read_text()
    rows = [f"| `{name}` | {field.default:g}" for name, field in Assumptions.model_fields.items()]
    assert [row for row in rows if row not in page] == []
