from slugs import clip_slug, is_slug, slugify, strip_accents, unique_slug


def test_strip_accents_keeps_case():
    assert strip_accents("Élan à Malmö") == "Elan a Malmo"


def test_slugify_punctuation_and_accents():
    assert slugify("  Crème brûlée, 2nd try! ") == "creme-brulee-2nd-try"
    assert slugify("?!") == ""


def test_slugify_separator():
    assert slugify("Big Red Bus", separator="_") == "big_red_bus"


def test_is_slug_yes():
    assert is_slug("a-2nd-try")
    assert is_slug("single")


def test_is_slug_no():
    assert not is_slug("two--dashes")
    assert not is_slug("Upper-case")
    assert not is_slug("")


def test_clip_slug_at_dash():
    assert clip_slug("big-red-bus", 11) == "big-red-bus"
    assert clip_slug("big-red-bus", 10) == "big-red"
    assert clip_slug("big-red-bus", 7) == "big-red"
    assert clip_slug("big-red-bus", 6) == "big"


def test_clip_slug_without_dash():
    assert clip_slug("extraordinary", 5) == "extra"


def test_unique_slug_free():
    assert unique_slug("Big Bus", {"big"}) == "big-bus"


def test_unique_slug_numbers():
    assert unique_slug("Big Bus", {"big-bus"}) == "big-bus-2"
    assert unique_slug("Big Bus", {"big-bus", "big-bus-2"}) == "big-bus-3"


def test_unique_slug_limit():
    assert unique_slug("Big red bus", {"big-red"}, limit=8) == "big-red-2"
    assert unique_slug("a" * 41, set()) == "a" * 40
