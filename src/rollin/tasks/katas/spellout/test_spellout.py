import pytest
from spellout import letters, ordinal, read, spell


def test_spell_small_numbers():
    assert [spell(1), spell(10), spell(19)] == ["one", "ten", "nineteen"]


def test_spell_tens():
    assert [spell(20), spell(47), spell(99)] == ["twenty", "forty-seven", "ninety-nine"]


def test_spell_hundreds():
    assert spell(100) == "one hundred"
    assert spell(342) == "three hundred and forty-two"
    assert spell(999, glue=" ") == "nine hundred ninety-nine"


def test_spell_refuses_other_numbers():
    for number in (0, 1000):
        with pytest.raises(ValueError, match=f"cannot spell {number}"):
            spell(number)


def test_ordinal_irregular():
    assert [ordinal(1), ordinal(12)] == ["first", "twelfth"]
    assert [ordinal(83), ordinal(109)] == ["eighty-third", "one hundred and ninth"]
    assert [ordinal(2), ordinal(5), ordinal(8)] == ["second", "fifth", "eighth"]


def test_ordinal_regular():
    assert [ordinal(7), ordinal(30)] == ["seventh", "thirtieth"]
    assert ordinal(416) == "four hundred and sixteenth"


def test_read_words():
    assert [read("six"), read("ninety-one"), read("thirteen")] == [6, 91, 13]
    assert read("seven hundred and eighty") == 780


def test_read_is_the_inverse_of_spell():
    assert [read(spell(number)) for number in range(1, 1000)] == list(range(1, 1000))


def test_letters_skip_spaces_and_hyphens():
    assert letters(342) == 23
    assert letters(3) == 5
