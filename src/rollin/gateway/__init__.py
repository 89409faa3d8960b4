"""The gateway: an OpenAI-compatible server through which a harness, unmodified, meets the roll-in."""

from rollin.gateway.hosting import Host
from rollin.gateway.labels import LabelCounts
from rollin.gateway.server import Gateway, Standing
from rollin.gateway.session import Call, SessionReport, SessionSpec

__all__ = ["Call", "Gateway", "Host", "LabelCounts", "SessionReport", "SessionSpec", "Standing"]
