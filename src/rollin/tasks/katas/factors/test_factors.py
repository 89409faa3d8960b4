import pytest

from factors import common_divisor, divisor_count, factorize, is_prime, radical


def test_factorize():
    assert factorize(360) == {2: 3, 3: 2, 5: 1}
    assert factorize(49) == {7: 2}


def test_factorize_one():
    assert factorize(1) == {}


def test_factorize_rejects_zero():
    with pytest.raises(ValueError, match="not a positive number: 0"):
        factorize(0)


def test_factorize_start():
    assert factorize(15, start=4) == {15: 1}


def test_is_prime():
    primes = [number for number in range(1, 20) if is_prime(number)]
    assert primes == [2, 3, 5, 7, 11, 13, 17, 19]


def test_is_prime_square():
    assert not is_prime(121)


def test_divisor_count():
    assert divisor_count(12) == 6
    assert divisor_count(1) == 1


def test_common_divisor():
    assert common_divisor(84, 120) == 12


def test_common_divisor_none_shared():
    assert common_divisor(9, 16) == 1


def test_radical():
    assert radical(72) == 6
    assert radical(30) == 30
