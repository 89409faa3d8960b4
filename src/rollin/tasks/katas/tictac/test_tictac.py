import pytest
from tictac import play, render, turn, winner, winning_cells


def test_turn_alternates():
    assert turn(".........") == "X"
    assert turn("X........") == "O"
    assert turn("XO.......") == "X"


def test_play_sets_the_next_mark():
    assert play("X........", 1) == "XO......."
    assert play("XO.......", 8) == "XO......X"


def test_play_refuses_a_taken_cell():
    with pytest.raises(ValueError, match="cell 0 is taken"):
        play("X........", 0)


def test_winner_in_rows_and_columns():
    rows = ["XXXOO....", "OO.XXX...", "OO....XXX"]
    columns = ["XO.XO.X..", "OX.OX..X.", "O.XO.X..X"]
    assert [winner(board) for board in rows + columns] == ["X"] * 6


def test_winner_on_diagonals():
    assert winner("OXX.O.X.O") == "O"
    assert winner("XXO.O.OX.") == "O"


def test_winner_draw():
    assert winner("XOXXOOOXX") == "draw"


def test_winner_undecided():
    assert winner("XOX......") is None


def test_winning_cells_of_both_marks():
    assert winning_cells("XX.OO....") == [2]
    assert winning_cells("XX.OO.X..") == [5]
    assert winning_cells("X.O.XO...") == [8]


def test_winning_cells_may_be_several():
    assert winning_cells("X.X.OOXO.") == [1, 3]


def test_winning_cells_may_be_none():
    assert winning_cells("X...O....") == []


def test_render_separates_cells():
    assert render("XO..X...O") == "X|O|.\n.|X|.\n.|.|O"


def test_render_with_other_separator():
    assert render("XO..X...O", separator=" ").splitlines()[0] == "X O ."
