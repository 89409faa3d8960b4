from anagram import groups, longest, missing, pairs, signature


def test_signature_sorts_letters():
    assert signature("listen") == "eilnst"


def test_signature_ignores_case_and_punctuation():
    assert signature("Moon-Starer 2") == "aemnoorrst"


def test_groups_largest_first():
    words = ["tea", "care", "eat", "acre", "ate", "dog"]
    assert groups(words) == [["tea", "eat", "ate"], ["care", "acre"]]


def test_groups_with_minimum():
    assert groups(["tea", "eat", "dog"], minimum=3) == []
    assert groups(["dog", "tea", "eat"], minimum=1) == [["tea", "eat"], ["dog"]]


def test_pairs_of_anagrams():
    assert pairs(["no", "cat", "on", "act"]) == [("no", "on"), ("cat", "act")]


def test_pairs_skip_equal_words():
    assert pairs(["Stop", "stop", "sTop"]) == []
    assert pairs(["stop", "Pots"]) == [("stop", "Pots")]


def test_missing_letters_are_sorted():
    assert missing("pepper", "pre") == "epp"


def test_missing_nothing():
    assert missing("pea", "grape") == ""


def test_longest_word_from_tiles():
    assert longest(["at", "tree", "rate", "treats"], "earts") == "rate"


def test_longest_takes_the_first_of_several():
    assert longest(["top", "pot"], "opt") == "top"


def test_longest_may_not_exist():
    assert longest(["zoo"], "abc") is None
