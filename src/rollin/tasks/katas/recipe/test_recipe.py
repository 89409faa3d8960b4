import pytest

from recipe import arrange, chain, final_steps, is_valid

CAKE = {
    "bake": {"mix", "heat"},
    "mix": {"weigh"},
    "weigh": set(),
    "heat": set(),
    "serve": {"bake"},
}


def test_arrange():
    assert arrange(CAKE) == ["heat", "weigh", "mix", "bake", "serve"]


def test_arrange_prefers_freed_name():
    assert arrange({"d": set(), "c": set(), "a": {"c"}}) == ["c", "a", "d"]


def test_arrange_cycle():
    with pytest.raises(ValueError, match="need each other"):
        arrange({"a": {"b"}, "b": {"a"}, "c": set()})


def test_is_valid():
    assert is_valid(CAKE, ["weigh", "mix", "heat", "bake", "serve"])
    assert not is_valid(CAKE, ["weigh", "heat", "bake", "mix", "serve"])


def test_is_valid_step_needs_itself():
    assert not is_valid({"a": {"a"}}, ["a"])


def test_final_steps():
    assert final_steps(CAKE) == ["serve"]
    assert final_steps({"b": set(), "a": set(), "c": {"b"}}) == ["a", "c"]


def test_chain():
    needs = chain("wash", "cut", "fry")
    assert needs == {"wash": set(), "cut": {"wash"}, "fry": {"cut"}}


def test_chain_single():
    assert chain("rest") == {"rest": set()}
