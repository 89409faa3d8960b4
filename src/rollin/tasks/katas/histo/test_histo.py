from histo import bin_index, draw, fullest, load_settings, tally


def test_load_settings():
    assert load_settings()["edges"] == [0, 10, 20, 50]
    assert load_settings()["mark"] == "*"


def test_bin_index():
    assert bin_index(4, [0, 5, 9]) == 0
    assert bin_index(8, [0, 5, 9]) == 1


def test_bin_index_on_edge():
    assert bin_index(5, [0, 5, 9]) == 1
    assert bin_index(0, [0, 5, 9]) == 0


def test_bin_index_outside():
    assert bin_index(-1, [0, 5, 9]) is None
    assert bin_index(9, [0, 5, 9]) is None


def test_tally_default_edges():
    assert tally([0, 9, 10, 19, 20, 49, 30, 50, -3]) == [2, 2, 3]


def test_tally_edges():
    assert tally([1, 2, 3, 4], edges=[1, 3, 4]) == [2, 1]


def test_draw():
    stars = [line.split()[1].count("*") for line in draw([1, 2, 3, 4, 12, 25, 26])]
    assert stars == [20, 5, 10]


def test_draw_labels():
    assert [line[:7] for line in draw([5])] == ["     0 ", "    10 ", "    20 "]


def test_fullest():
    assert fullest([3, 14, 15, 40]) == (10, 20)
    assert fullest([3, 14, 45]) == (0, 10)
    assert fullest([3, 30, 45]) == (20, 50)


def test_draw_empty():
    assert draw([]) == ["     0 ", "    10 ", "    20 "]
