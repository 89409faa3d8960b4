from morse import decode, encode, sign_length, slowest


def test_encode_words():
    assert encode("SOS now") == "... --- ... / -. --- .--"


def test_encode_leaves_out_others():
    assert encode("a1b! -- c") == ".- -... / -.-."
    assert encode("?") == ""


def test_encode_ends_of_alphabet():
    assert encode("az") == ".- --.."


def test_decode_words():
    assert decode("... --- ... / -. --- .--") == "sos now"


def test_decode_unknown_sign():
    assert decode(".- ......") == "a?"
    assert decode(".- ...... / -", unknown="*") == "a* t"


def test_decode_undoes_encode():
    phrase = "the quick brown fox jumps over a lazy dog"
    assert decode(encode(phrase)) == phrase


def test_sign_length_single_mark():
    assert sign_length(".") == 80
    assert sign_length("-") == 240


def test_sign_length_counts_gaps():
    assert sign_length("...") == 400
    assert sign_length("-.-") == 720


def test_slowest_letter():
    assert slowest("Eat it") == "a"
    assert slowest("Quiz-2") == "q"
    assert slowest("me") == "m"
