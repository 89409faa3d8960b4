from bitset import BitSet


def test_from_bits():
    assert BitSet.from_bits(0b1010).numbers() == [1, 3]


def test_numbers():
    assert BitSet(5, 0, 2, 5).numbers() == [0, 2, 5]
    assert BitSet().numbers() == []


def test_from_bits_again():
    assert BitSet.from_bits(BitSet(0, 4).bits).numbers() == [0, 4]
    assert BitSet.from_bits(17).bits == BitSet(0, 4).bits


def test_toggle_on():
    flags = BitSet(1)
    assert flags.toggle(3)
    assert flags.numbers() == [1, 3]


def test_toggle_off():
    flags = BitSet(1, 3)
    assert not flags.toggle(3)
    assert flags.numbers() == [1]


def test_shared():
    assert BitSet(1, 2, 3).shared(BitSet(2, 3, 4)).numbers() == [2, 3]


def test_joined():
    assert BitSet(1, 2).joined(BitSet(2, 6)).numbers() == [1, 2, 6]


def test_covers():
    assert BitSet(1, 2, 3).covers(BitSet(1, 3))
    assert BitSet(1, 2).covers(BitSet(1, 2))


def test_covers_not():
    assert not BitSet(1, 2).covers(BitSet(2, 3))
    assert BitSet(1).covers(BitSet())
