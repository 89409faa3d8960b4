from password import illegal, load_rules, longest_run, mask, problems

RULES = {"length": 6, "digits": 2, "capitals": 1, "repeats": 2}
RULES |= {"symbols": "!-", "banned": ["secret"]}


def test_load_rules_reads_the_file():
    rules = load_rules()
    assert [rules["length"], rules["digits"], rules["capitals"]] == [8, 2, 1]
    assert "qwerty" in rules["banned"]


def test_problems_of_a_good_password():
    assert problems("Abba77", RULES) == []


def test_problems_one_by_one():
    assert problems("Abc12", RULES) == ["length"]
    assert problems("Abcde1", RULES) == ["digits"]
    assert problems("abcd12", RULES) == ["capitals"]
    assert problems("Abbb12", RULES) == ["repeats"]


def test_problems_of_banned_words():
    assert problems("TopSecret12", RULES) == ["banned"]


def test_problems_of_an_empty_password():
    assert problems("", RULES) == ["length", "digits", "capitals"]


def test_longest_run_of_characters():
    assert longest_run("aabbbcaa") == 3
    assert longest_run("abab") == 1


def test_longest_run_of_nothing():
    assert longest_run("") == 0


def test_illegal_characters_are_sorted():
    assert illegal("a#b c#!", RULES) == " #"


def test_illegal_is_empty_for_allowed_text():
    assert illegal("aZ09!-", RULES) == ""


def test_mask_keeps_the_start():
    assert mask("hunter") == "hu****"
    assert mask("hunter", visible=5) == "hunte*"


def test_mask_of_short_text():
    assert mask("x") == "x"
