from runlen import decode, encode, find_runs, longest_run, saving, squeeze


def test_find_runs_in_order():
    assert find_runs("aabccca") == [("a", 2), ("b", 1), ("c", 3), ("a", 1)]
    assert find_runs("") == []


def test_encode_counts():
    assert encode("aabcccca") == "2ab4ca"
    assert encode("w" * 12) == "12w"


def test_encode_minimum():
    assert encode("aabbbcccc", minimum=3) == "aa3b4c"


def test_decode_expands():
    assert decode("2ab4ca") == "aabcccca"
    assert decode("12w.") == "wwwwwwwwwwww."


def test_decode_undoes_encode():
    assert decode(encode("  hmm... ok")) == "  hmm... ok"


def test_longest_run_first_wins():
    assert longest_run("abbccd") == ("b", 2)
    assert longest_run("abbccc") == ("c", 3)


def test_longest_run_short_texts():
    assert longest_run("x") == ("x", 1)
    assert longest_run("") == ("", 0)


def test_saving_percentage():
    assert saving("aaaaaaaabb") == 60
    assert saving("abc") == 0
    assert saving("") == 0


def test_saving_with_minimum():
    assert saving("aabbbb") == 33
    assert saving("aabbbb", minimum=5) == 0


def test_squeeze_one_letter():
    assert squeeze("a  b   cc", " ") == "a b cc"
    assert squeeze("1..2...", ".") == "1.2."
