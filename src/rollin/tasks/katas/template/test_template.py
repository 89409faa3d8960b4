from template import missing_names, place_names, render, render_each


def test_place_names_once_in_order():
    text = "{{ verb }} {{name}} {{ verb|upper }} {{ day | trim }}"
    assert place_names(text) == ["verb", "name", "day"]


def test_place_names_ignores_single_braces():
    assert place_names("{name} {{}} {{ two words }}") == []


def test_missing_names_partial():
    assert missing_names("{{ a }}{{ b }}{{ c }}", {"b": 1}) == ["a", "c"]
    assert missing_names("{{ a }}", {"a": None}) == []


def test_render_values():
    assert render("{{ name }} is {{age}}", {"name": "Ada", "age": 36}) == "Ada is 36"


def test_render_filters():
    assert render("{{ name|upper }}", {"name": "ada"}) == "ADA"
    assert render("{{ name | title }}!", {"name": "ada king"}) == "Ada King!"
    assert render("<{{ name|trim }}>", {"name": " ada "}) == "<ada>"


def test_render_default():
    assert render("{{ a }}-{{ b }}", {"a": 1}) == "1-"
    assert render("{{ a|upper }}", {}, default="none") == "NONE"


def test_render_each_row_number():
    rows = [{"name": "tea"}, {"name": "milk"}]
    assert render_each("{{ row }}. {{ name }}", rows) == "1. tea\n2. milk"


def test_render_each_separator():
    rows = [{"name": "tea", "row": "x"}, {"name": "milk"}]
    assert render_each("{{ row }}{{ name }}", rows, separator=", ") == "xtea, 2milk"
