import pytest
from tennis import Game


def played(rallies):
    game = Game("Ann", "Bob")
    for letter in rallies:
        game.award({"A": "Ann", "B": "Bob"}[letter])
    return game


def test_award_counts_points():
    game = played("A")
    game.award("Bob", count=2)
    assert game.points == {"Ann": 1, "Bob": 2}


def test_award_after_the_end():
    with pytest.raises(ValueError, match="the game is over"):
        played("AAAA").award("Bob")


def test_leader_is_the_player_ahead():
    assert played("AAB").leader() == "Ann"
    assert played("ABB").leader() == "Bob"


def test_leader_when_equal():
    assert played("AB").leader() is None


def test_winner_needs_four_points():
    assert played("AAA").winner() is None
    assert played("AAABBA").winner() == "Ann"


def test_winner_needs_a_lead_of_two():
    assert played("AAABBBB").winner() is None
    assert played("AAABBBBB").winner() == "Bob"


def test_score_of_an_early_game():
    assert played("").score() == "love-love"
    assert played("BBA").score() == "fifteen-thirty"
    assert played("AAABB").score(separator=" ") == "forty thirty"


def test_score_deuce_and_advantage():
    assert played("AAABBB").score() == "deuce"
    assert played("AAABBBB").score() == "advantage Bob"
    assert played("AAABBBBAA").score() == "advantage Ann"


def test_score_of_a_finished_game():
    assert played("AABAA").score() == "game Ann"
