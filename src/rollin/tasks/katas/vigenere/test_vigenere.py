from vigenere import caesar, decrypt, encrypt, guess_shift


def test_caesar_default_shift():
    assert caesar("xyz abc!") == "ABC DEF!"


def test_caesar_back_and_around():
    assert caesar("ABC", shift=-1) == "ZAB"
    assert caesar("Hello", shift=26) == "HELLO"
    assert caesar("Hello", shift=27) == "IFMMP"


def test_encrypt_repeats_keyword():
    assert encrypt("attack at dawn", "lemon") == "LXFOPVEFRNHR"


def test_encrypt_leaves_out_others():
    assert encrypt("a1-a", "B") == "BB"
    assert encrypt("", "KEY") == ""


def test_decrypt_known_text():
    assert decrypt("LXFOPVEFRNHR", "Lemon") == "ATTACKATDAWN"


def test_decrypt_undoes_encrypt():
    assert decrypt(encrypt("ZEBRA", "key"), "key") == "ZEBRA"


def test_guess_shift_of_caesar():
    secret = caesar("meet me here then", shift=7)
    assert guess_shift(secret) == 7


def test_guess_shift_wraps():
    assert guess_shift("a b a - - - -") == 22
    assert guess_shift("BBA", common="A") == 1
