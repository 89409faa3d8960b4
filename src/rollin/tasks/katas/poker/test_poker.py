from poker import category, compare, strength, values, winner

PAIR = ["9H", "9C", "2D", "5S", "KH"]
FLUSH = ["2H", "9H", "KH", "4H", "7H"]
STRAIGHT = ["6D", "5C", "4H", "8S", "7S"]
HOUSE = ["3C", "3D", "JH", "JS", "JD"]


def test_values_of_face_cards():
    assert values(["TC", "AH", "QD", "KS", "JS"]) == [14, 13, 12, 11, 10]


def test_values_put_groups_first():
    assert values(PAIR) == [9, 9, 13, 5, 2]
    assert values(HOUSE) == [11, 11, 11, 3, 3]


def test_category_of_groups():
    assert [category(PAIR), category(HOUSE)] == ["pair", "full house"]
    assert category(["4C", "4D", "4H", "4S", "2D"]) == "four"
    assert category(["4C", "4D", "4H", "9S", "2D"]) == "three"
    assert category(["4C", "4D", "9H", "9S", "2D"]) == "two pairs"


def test_category_of_sequences():
    assert [category(FLUSH), category(STRAIGHT)] == ["flush", "straight"]
    assert category(["6D", "5D", "4D", "8D", "7D"]) == "straight flush"


def test_category_high_card():
    assert category(["6D", "5C", "4H", "9S", "7S"]) == "high card"


def test_strength_holds_place_and_values():
    assert strength(PAIR) == (1, [9, 9, 13, 5, 2])
    assert strength(FLUSH) == (5, [13, 9, 7, 4, 2])


def test_compare_categories():
    assert compare(FLUSH, STRAIGHT) == 1
    assert compare(FLUSH, HOUSE) == -1


def test_compare_equal_categories():
    other = ["9D", "9S", "2H", "5C", "AC"]
    assert [compare(PAIR, other), compare(other, PAIR)] == [-1, 1]
    assert compare(PAIR, PAIR) == 0


def test_winner_has_the_best_hand():
    assert winner({"ann": PAIR, "bea": HOUSE, "cid": FLUSH}) == "bea"


def test_winner_of_a_tie():
    assert winner({"ann": PAIR, "bea": ["9D", "9S", "2H", "5C", "KC"]}) is None
