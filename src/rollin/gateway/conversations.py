"""The plain key's trajectories: agents that can set a base URL and a key, and nothing else, are told apart by what they
say. What goes on with a conversation belongs to its trajectory; anything else begins one."""

from collections.abc import Callable

from rollin.gateway.hosting import Ending, Host
from rollin.gateway.session import NOT_AT_ALL, Session, SessionReport, SessionSpec
from rollin.messages import Message
from rollin.store import Exit

AT_ONCE = 256
"""Remembered at once, and those with a call under way. One that is gone on with after so many others is a new
trajectory."""


class Conversations:
    """Those that may be gone on with. Runs on the gateway's event loop."""

    def __init__(
        self, host: Host, begin: Callable[[SessionSpec], Session], leave: Callable[[Session], SessionReport]
    ) -> None:
        self._host = host
        self._begin = begin
        self._leave = leave
        self._sessions: list[Session] = []
        """The one that was gone on with last is the last."""

    def __len__(self) -> int:
        return len(self._sessions)

    def session(self, state: list[Message], *, repeated: bool) -> Session:
        """That of a call; a new one where it goes on with none, or with one that is broken: the agent has no other way
        to go on."""
        known = self._known(state, repeated=repeated)
        if known is not None and not known.is_broken:
            self._sessions.remove(known)
        else:
            if known is not None:
                self._end(known)
            known = self._begin(self._host.begin_conversation())
            self._make_room()
        self._sessions.append(known)
        return known

    def end_broken(self) -> None:
        """Say of those that they are at an end: nobody else will."""
        for session in [session for session in self._sessions if session.is_broken]:
            self._end(session)

    def _known(self, state: list[Message], *, repeated: bool) -> Session | None:
        """The one that a state goes on with best."""
        if repeated:  # without that, the same call under way may be another agent's
            for session in reversed(self._sessions):
                if session.is_under_way(state):
                    return session
        best = max(self._sessions, key=lambda session: session.goes_on(state), default=None)
        return best if best is not None and best.goes_on(state) > NOT_AT_ALL else None

    def _make_room(self) -> None:
        """For another."""
        idle = [session for session in self._sessions if not session.is_busy]
        for session in idle[: max(0, len(self._sessions) + 1 - AT_ONCE)]:
            self._end(session)

    def _end(self, session: Session) -> None:
        """What the agent made of it nobody says; a fault is known here alone."""
        self._sessions.remove(session)
        if self._leave(session).fault:
            self._host.end(session.spec.trajectory.id, Ending(exit=Exit.INFRASTRUCTURE_FAULT))
