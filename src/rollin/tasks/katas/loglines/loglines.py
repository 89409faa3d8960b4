"""Parse log lines and count their levels."""

import re
from collections import Counter
from datetime import datetime, timedelta

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
PATTERN = re.compile(r"(\S+ \S+) \[(\w+)\] (?:(\w+): )?(.*)")


def parse_line(line):
    """Return a line's time, level, source and message, or None."""
    match = PATTERN.fullmatch(line.strip())
    if match is None or match[2] not in LEVELS:
        return None
    time = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S")
    return {"time": time, "level": match[2], "source": match[3], "text": match[4]}


def parse_lines(text):
    """Return the records of all lines that can be parsed."""
    records = [parse_line(line) for line in text.splitlines()]
    return [record for record in records if record]


def count_levels(records):
    """Return how often each level occurs, in order of severity."""
    counts = Counter(record["level"] for record in records)
    return {level: counts[level] for level in LEVELS}


def _severe(record, threshold):
    return LEVELS.index(record["level"]) >= LEVELS.index(threshold)


def filter_level(records, threshold="WARNING"):
    """Return the records that are at least as severe as the threshold."""
    return [record for record in records if _severe(record, threshold)]


def gaps(records, seconds=60):
    """Return the times after which nothing was logged for longer than that."""
    limit = timedelta(seconds=seconds)
    times = [record["time"] for record in records]
    following = zip(times, times[1:], strict=False)
    return [before for before, after in following if after - before > limit]
