from maze import dead_ends, load_signs, open_cells, shortest_path


def test_load_signs():
    assert load_signs() == {"wall": "#", "entry": "E", "exit": "X"}


def test_open_cells():
    assert open_cells(["E#", ".X"], "#") == {(0, 0): "E", (1, 0): ".", (1, 1): "X"}


def test_open_cells_wall():
    assert open_cells(["#w#"], wall="w") == {(0, 0): "#", (0, 2): "#"}


def test_shortest_path_around_wall():
    path = [(0, 0), (1, 0), (2, 0), (2, 1), (2, 2), (1, 2), (0, 2)]
    assert shortest_path(["E#X", ".#.", "..."]) == path


def test_shortest_path_back():
    assert shortest_path(["X#", "..", "#E"]) == [(2, 1), (1, 1), (1, 0), (0, 0)]


def test_shortest_path_of_two():
    assert len(shortest_path(["E..", ".#.", "..X", "..."])) == 5
    assert shortest_path(["....", "E..X", "...."])[1:] == [(1, 1), (1, 2), (1, 3)]


def test_shortest_path_blocked():
    assert shortest_path(["E#X"]) is None
    assert shortest_path(["..X"]) is None


def test_dead_ends():
    assert dead_ends(["E.#", "#..", "#X#"]) == [(0, 0), (1, 2), (2, 1)]


def test_dead_ends_none():
    assert dead_ends(["..", "..", "##", "#."]) == []
