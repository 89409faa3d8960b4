from stock import fill_rate, load_limits, order, receive, shortages

LIMITS = {
    "nails": {"minimum": 20, "maximum": 60, "pack": 10},
    "glue": {"minimum": 2, "maximum": 5, "pack": 4},
}


def test_load_limits_reads_the_file():
    limits = load_limits()
    assert sorted(limits) == ["belts", "bolts", "gears"]
    assert limits["gears"] == {"minimum": 8, "maximum": 30, "pack": 5}


def test_shortages_below_the_minimum():
    assert shortages({"nails": 19, "glue": 2}, LIMITS) == ["nails"]


def test_shortages_counts_unknown_items_as_empty():
    assert shortages({}, LIMITS) == ["glue", "nails"]
    assert shortages({}, {"tape": {"minimum": 1}, "wax": {"minimum": 0}}) == ["tape"]


def test_order_rounds_up_to_whole_packs():
    assert order({"nails": 9, "glue": 1}, LIMITS) == {"glue": 1, "nails": 2}


def test_order_exact_packs():
    assert order({"glue": 3}, LIMITS) == {"nails": 2}


def test_order_of_an_empty_store():
    limits = {"salt": {"minimum": 6, "pack": 5}, "oats": {"minimum": 10, "pack": 5}}
    assert order({}, limits) == {"salt": 2, "oats": 2}


def test_receive_adds_to_the_level():
    assert receive({"glue": 1}, LIMITS, "glue", amount=3) == ({"glue": 4}, 0)


def test_receive_one_of_a_new_item():
    assert receive({"glue": 1}, LIMITS, "nails") == ({"glue": 1, "nails": 1}, 0)


def test_receive_returns_the_surplus():
    assert receive({"nails": 55}, LIMITS, "nails", amount=12) == ({"nails": 60}, 7)


def test_fill_rate_of_the_fullest_item():
    assert fill_rate({"nails": 20, "glue": 1}, LIMITS) == ("nails", 33)
    assert fill_rate({"nails": 20, "glue": 5}, LIMITS) == ("glue", 100)


def test_fill_rate_of_an_empty_store():
    assert fill_rate({}, {"glue": {"maximum": 50}}) == ("glue", 0)
