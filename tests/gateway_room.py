"""A store and a gateway, scripted policies, and what a harness does with them."""

from dataclasses import dataclass, field

import openai
from scripted import ScriptedPolicy, make_task

from rollin.gateway import Gateway, SessionSpec
from rollin.mixture import Actor, AnyRollIn, Constant, TurnMixture
from rollin.store import Purpose, Store

HTTP = openai.DefaultHttpxClient()
HALF = TurnMixture(beta=Constant(value=0.5))


def student(delay: float = 0.0) -> ScriptedPolicy:
    return ScriptedPolicy("student", lambda request: f"student {request.turn}", delay)


def teacher(delay: float = 0.0) -> ScriptedPolicy:
    return ScriptedPolicy("teacher", lambda request: f"teacher {request.turn}", delay)


@dataclass
class Run:
    """A store and a gateway, and what a harness does with them."""

    store: Store
    gateway: Gateway
    student: ScriptedPolicy = field(default_factory=student)
    teacher: ScriptedPolicy = field(default_factory=teacher)

    def spec(self, attempt: int = 0, *, labelled: bool = True, roll_in: AnyRollIn = HALF) -> SessionSpec:
        task = make_task()
        trajectory = self.store.open_trajectory(
            task.instance_id, iteration=1, attempt=attempt, purpose=Purpose.COLLECT, policy="student", seed=11
        )
        policies = {Actor.STUDENT: self.student, Actor.TEACHER: self.teacher}
        return SessionSpec(trajectory, task, roll_in, policies, self.teacher if labelled else None)

    def client(self, key: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.gateway.url, api_key=key, max_retries=2, http_client=HTTP)

    def say(self, key: str, messages: list[dict[str, str]]) -> str:
        answer = self.client(key).chat.completions.create(model="any", messages=messages)  # type: ignore[arg-type]
        return answer.choices[0].message.content or ""

    def converse(self, key: str, turns: int, observed: str = "saw") -> list[str]:
        messages = [{"role": "user", "content": "repair it"}]
        said = []
        for turn in range(turns):
            said.append(self.say(key, messages))
            messages += [{"role": "assistant", "content": said[-1]}, {"role": "user", "content": f"{observed} {turn}"}]
        return said
