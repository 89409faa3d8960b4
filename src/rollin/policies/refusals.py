"""What a server says where it doesn't answer: statuses, and what can be read from the reasons that servers give."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Self

NO_ANSWER, NO_COMPLETION, BROKEN_OFF = 0, -1, -2
"""Statuses of a refusal that has none of HTTP's: the server did not answer, or with something else, or with a part."""
TRANSIENT = {NO_ANSWER, NO_COMPLETION, BROKEN_OFF, 408, 409, 429}
"""Statuses that another try may mend, with all from 500 on."""
ABSENT = {NO_ANSWER, 502, 503, 504}
"""Statuses of a server that is perhaps being started anew, behind a proxy or not."""
OF_THE_QUESTION = {400, 413, 422}
"""Statuses of a refusal of what was asked; others are about the server, the key or the model."""
UNSUPPORTED, UNSUPPORTED_VALUE = "unsupported_parameter", "unsupported_value"
"""What OpenAI calls it where a model takes a field not at all, or not as it is."""
OVERFLOW = {"context_length_exceeded", "exceed_context_size_error"}
"""A refusal's code at OpenAI, its type at llama.cpp, where a conversation is too long."""
TOO_LONG = re.compile(
    "context length|context window|context size|maximum model length|prompt is too long", re.IGNORECASE
)
"""As OpenAI, SGLang, llama.cpp, vLLM and Anthropic put it."""


class RefusalError(Exception):
    """A request that failed: its status, and what the server said with it."""

    def __init__(
        self,
        status: int,
        reason: str,
        *,
        code: str = "",
        param: str = "",
        pause: float | None = None,
        overflow: bool = False,
    ) -> None:
        super().__init__(reason)
        self.status, self.reason, self.code = status, reason, code
        self.param = param
        """The field that it is about."""
        self.pause = pause
        """Seconds that the server asks to wait."""
        self.overflow = overflow
        """Whether the conversation is too long."""
        self.path = ""
        """Where it was asked, if not for a completion."""

    @property
    def is_transient(self) -> bool:
        """Whether another try may mend it."""
        return self.status in TRANSIENT or self.status >= 500

    @property
    def is_cut(self) -> bool:
        """Whether all of a limit went into reasoning: OpenAI's models have no answer then, but a refusal."""
        return self.status == 400 and "max_tokens or model output limit was reached" in self.reason

    @classmethod
    def read(
        cls, status: int, headers: Mapping[str, str], content: bytes, instead: str, line: Callable[[str], str]
    ) -> Self:
        """Of an answer. Servers put their reason under `error`, under `detail`, or in plain text; `instead` is HTTP's.
        `line` makes of it what may be told."""
        try:
            said = json.loads(content)
        except ValueError:
            said = None
        found = said.get("error", said) if isinstance(said, dict) else None
        details = found if isinstance(found, dict) else {"message": found or content.decode(errors="replace")}
        reason = str(details.get("message") or details.get("detail") or instead)
        after = headers.get("Retry-After", "")
        pause = float(after) if after.isdigit() else None
        code, param = str(details.get("code")), str(details.get("param"))
        named = bool(OVERFLOW & {code, str(details.get("type"))})
        overflow = status in OF_THE_QUESTION and (named or bool(TOO_LONG.search(reason)))
        return cls(status, line(reason), code=code, param=param, pause=pause, overflow=overflow)
