import pytest
from options import (
    changed_options,
    dump_options,
    load_defaults,
    parse_line,
    parse_options,
)


def test_load_defaults_values():
    assert load_defaults()["port"] == 8080
    assert sorted(load_defaults()) == ["debug", "host", "port", "retries", "timeout"]


def test_parse_line_trims():
    assert parse_line("  host =  example.org ") == ("host", "example.org")
    assert parse_line("path=a=b # note") == ("path", "a=b")


def test_parse_line_skips():
    assert parse_line("   ") is None
    assert parse_line("# port=1") is None


def test_parse_line_without_equals():
    with pytest.raises(ValueError, match="no value in 'debug'"):
        parse_line("debug # now")


def test_parse_options_keeps_defaults():
    assert parse_options("") == load_defaults()


def test_parse_options_converts_types():
    options = parse_options("port=99\n\ntimeout=4\n# x\ndebug=Yes")
    assert options["port"] == 99
    assert options["timeout"] == 4.0 and isinstance(options["timeout"], float)
    assert options["debug"] is True


def test_parse_options_false_and_text():
    assert parse_options("debug=no")["debug"] is False
    assert parse_options("debug=on")["debug"] is True
    assert parse_options("debug=TRUE")["debug"] is True
    assert parse_options("host=10")["host"] == "10"


def test_parse_options_unknown_name():
    with pytest.raises(KeyError):
        parse_options("colour=red")


def test_changed_options_only_differences():
    options = parse_options("port=8080\nretries=5")
    assert changed_options(options) == {"retries": 5}


def test_dump_options_sorted():
    assert dump_options({"port": 1, "debug": True}, indent=None) == (
        '{"debug": true, "port": 1}'
    )


def test_dump_options_default_indent():
    assert dump_options({"port": 1}) == '{\n  "port": 1\n}'
