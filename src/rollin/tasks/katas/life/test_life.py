from life import advance, is_still, neighbours, parse, size

GLIDER = ".#./..#/###"


def test_parse_lines_and_columns():
    assert parse("#../.##") == {(0, 0), (1, 1), (1, 2)}


def test_parse_other_mark():
    assert parse("o#o", alive="o") == {(0, 0), (0, 2)}


def test_neighbours_are_the_eight_around():
    near = neighbours((5, 8))
    assert sorted(near)[:5] == [(4, 7), (4, 8), (4, 9), (5, 7), (5, 9)]
    assert sorted(near)[5:] == [(6, 7), (6, 8), (6, 9)]


def test_advance_turns_a_blinker():
    assert advance({(1, 0), (1, 1), (1, 2)}) == {(0, 1), (1, 1), (2, 1)}


def test_advance_kills_crowded_and_lonely_cells():
    assert advance(parse("#.#/.#./#.#")) == parse(".#./#.#/.#.")
    assert advance(parse("##")) == set()


def test_advance_moves_a_glider():
    cells = parse(GLIDER)
    assert advance(cells, generations=4) == {(line + 1, col + 1) for line, col in cells}


def test_is_still_for_a_block():
    assert is_still(parse("##/##")) is True


def test_is_still_for_a_blinker():
    assert is_still(parse("###")) is False


def test_size_of_a_pattern():
    assert size({(2, 3), (4, 3), (3, 6)}) == (3, 4)
    assert size(parse("#")) == (1, 1)


def test_size_of_nothing():
    assert size(set()) == (0, 0)
