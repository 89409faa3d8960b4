"""What the gateway counts, for Prometheus: who acted, how long it took, how the labels stand."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from rollin.errors import ContextOverflow
from rollin.mixture import Actor

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """Of one gateway, since it started."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.turns = Counter("rollin_turns", "Turns committed.", ["actor"], registry=registry)
        self.replayed = Counter("rollin_turns_replayed", "Turns answered from the store.", registry=registry)
        self.sessions = Gauge("rollin_sessions_open", "Trajectories under way.", registry=registry)
        self.seconds = Histogram(
            "rollin_policy_seconds", "How long a policy took to act.", ["actor"], registry=registry, buckets=SECONDS
        )
        self.faults = Counter("rollin_policy_faults", "Times a policy could not act.", ["actor"], registry=registry)
        self.labels = Counter("rollin_labels", "Labels asked for beside, by outcome.", ["status"], registry=registry)
        self.pending = Gauge("rollin_labels_pending", "Labels being asked for.", registry=registry)
        self.lag = Histogram(
            "rollin_label_lag_seconds", "From a turn to its label.", registry=registry, buckets=SECONDS
        )
        for actor in Actor:  # so that a scrape shows zeros, not gaps
            for counts in (self.turns, self.seconds, self.faults):
                counts.labels(actor)

    @contextmanager
    def asked(self, actor: Actor) -> Iterator[None]:
        """Times a policy; what it raises, but a conversation that is too long for it, is a fault of its."""
        started = time.perf_counter()
        try:
            yield
        except ContextOverflow:
            raise
        except Exception:
            self.faults.labels(actor).inc()
            raise
        self.seconds.labels(actor).observe(time.perf_counter() - started)

    def exposed(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self._registry)
