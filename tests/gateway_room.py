"""A store and a gateway, scripted policies, and what a harness does with them."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from urllib.parse import urlsplit

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


@contextmanager
def half_a_call(url: str, key: str, messages: list[dict[str, str]]) -> Iterator[Callable[[], int]]:
    """A call of which the server has the first bytes; what sends the rest, and gives the answer's status."""
    body = json.dumps({"messages": messages}).encode()
    connection = HTTPConnection(urlsplit(url).netloc, timeout=10)
    connection.putrequest("POST", "/v1/chat/completions")
    connection.putheader("Authorization", f"Bearer {key}")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body[:9])
    time.sleep(0.3)

    def rest() -> int:
        connection.send(body[9:])
        return connection.getresponse().status

    yield rest
    connection.close()


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
