from datetime import datetime

from loglines import count_levels, filter_level, gaps, parse_line, parse_lines

LOG = """2024-05-01 10:00:00 [INFO] web: started
2024-05-01 10:01:00 [DEBUG] cache warm
broken line
2024-05-01 10:02:01 [ERROR] web: lost: retrying
2024-05-01 10:02:05 [WARNING] disk: almost full
2024-05-01 10:02:06 [INFO] web: stopped"""


def test_parse_line_with_source():
    record = parse_line("2024-05-01 10:02:03 [ERROR] web: lost: retrying\n")
    assert record["time"] == datetime(2024, 5, 1, 10, 2, 3)
    assert [record["level"], record["source"]] == ["ERROR", "web"]
    assert record["text"] == "lost: retrying"


def test_parse_line_without_source():
    record = parse_line("2024-05-01 10:02:03 [INFO] all is well")
    assert (record["source"], record["text"]) == (None, "all is well")


def test_parse_line_rejects_other_text():
    assert parse_line("hello") is None
    assert parse_line("2024-05-01 10:02:03 [LOUD] web: hello") is None


def test_parse_lines_skips_broken_lines():
    levels = [record["level"] for record in parse_lines(LOG)]
    assert levels == ["INFO", "DEBUG", "ERROR", "WARNING", "INFO"]


def test_count_levels_in_order():
    counts = count_levels(parse_lines(LOG))
    assert list(counts.items()) == [
        ("DEBUG", 1), ("INFO", 2), ("WARNING", 1), ("ERROR", 1)
    ]


def test_count_levels_of_nothing():
    assert count_levels([]) == {"DEBUG": 0, "INFO": 0, "WARNING": 0, "ERROR": 0}


def test_filter_level_defaults_to_warnings():
    texts = [record["text"] for record in filter_level(parse_lines(LOG))]
    assert texts == ["lost: retrying", "almost full"]


def test_filter_level_with_threshold():
    assert len(filter_level(parse_lines(LOG), threshold="INFO")) == 4
    assert len(filter_level(parse_lines(LOG), threshold="ERROR")) == 1


def test_gaps_longer_than_a_minute():
    assert gaps(parse_lines(LOG)) == [datetime(2024, 5, 1, 10, 1)]


def test_gaps_with_other_limit():
    assert len(gaps(parse_lines(LOG), seconds=3)) == 3
    assert len(gaps(parse_lines(LOG), seconds=4)) == 2
