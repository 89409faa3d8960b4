"""Whether a turn is to be corrected: what the teacher thinks of it once it has seen what came of it.

The idea is SAGE-OPD's (arXiv 2606.19659): a student's turn that is another than the teacher's need not be worse, and
what the environment answered shows it.

Judge     a policy that has a way of its own to judge (the scripted expert)
sound     asks any policy
"""

from dataclasses import replace
from typing import Protocol, runtime_checkable

from rollin.messages import Message
from rollin.policies.base import Policy, Request, Sampling

QUESTION = "Was your last command a sensible step, given what it printed? Answer yes or no."
BRIEF = Sampling(max_tokens=8)


@runtime_checkable
class Judge(Protocol):
    """A policy that judges by itself."""

    async def sound(self, request: Request) -> bool | None: ...


async def sound(teacher: Policy, request: Request) -> bool | None:
    """Whether the last turn of a state can be left alone: the state ends with what came of it.

    None where the teacher says neither yes nor no. Raises InfrastructureFault where it can't answer.
    """
    if isinstance(teacher, Judge):
        return await teacher.sound(request)
    *before, last = request.messages
    asking: Message = {**last, "content": f"{last['content']}\n\n{QUESTION}"}
    messages = [*before, asking]
    answer = await teacher.act(replace(request, messages=messages, sampling=BRIEF))
    said = answer.content.strip().lower()
    return True if said.startswith("yes") else False if said.startswith("no") else None
