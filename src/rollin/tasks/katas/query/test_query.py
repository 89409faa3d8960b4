from query import build_query, drop_param, first_value, parse_query, set_param


def test_parse_query_repeated_names():
    assert parse_query("tag=a&page=2&tag=b") == {"tag": ["a", "b"], "page": ["2"]}


def test_parse_query_decodes():
    assert parse_query("q=caf%C3%A9+bar&a%26b=c=d") == {
        "q": ["café bar"],
        "a&b": ["c=d"],
    }


def test_parse_query_empty_pieces():
    assert parse_query("") == {}
    assert parse_query("&flag&") == {"flag": [""]}


def test_build_query_repeats_names():
    assert build_query({"tag": ["a", "b"], "page": ["2"]}) == "tag=a&tag=b&page=2"
    assert build_query({"tag": []}) == ""


def test_build_query_escapes():
    assert build_query({"a/b": ["c/d e"]}) == "a%2Fb=c%2Fd%20e"


def test_first_value_present():
    assert first_value("tag=a&tag=b", "tag") == "a"
    assert first_value("tag=a&page=2", "page", default="1") == "2"


def test_first_value_missing():
    assert first_value("tag=a", "page") == ""
    assert first_value("tag=a", "page", default="1") == "1"


def test_set_param_replaces():
    assert set_param("/list?page=1&tag=x", "page", "2") == "/list?page=2&tag=x"


def test_set_param_adds():
    assert set_param("/list", "page", "2") == "/list?page=2"


def test_drop_param_keeps_others():
    assert drop_param("/list?page=1&tag=x&page=3", "page") == "/list?tag=x"
    assert drop_param("/list?tag=x", "page") == "/list?tag=x"


def test_drop_param_last_one():
    assert drop_param("/list?page=1", "page") == "/list"
