from spans import covered, gaps, longest, merged, overlap


def test_merged():
    assert merged([(8, 9), (1, 4), (9, 12), (3, 6)]) == [(1, 6), (8, 12)]


def test_merged_touching_and_nested():
    assert merged([(1, 3), (3, 5)]) == [(1, 5)]
    assert merged([(1, 9), (2, 4)]) == [(1, 9)]


def test_merged_slack():
    assert merged([(1, 3), (5, 6), (9, 10)], slack=2) == [(1, 6), (9, 10)]
    assert merged([(1, 3), (4, 6)]) == [(1, 3), (4, 6)]


def test_covered():
    assert covered([(0, 5), (3, 8), (10, 12)]) == 10
    assert covered([]) == 0


def test_gaps():
    assert gaps([(9, 10), (0, 2), (1, 4), (5, 7)]) == [(4, 5), (7, 9)]


def test_gaps_none():
    assert gaps([(0, 2), (2, 3)]) == []


def test_overlap():
    assert overlap((1, 5), (3, 9)) == (3, 5)
    assert overlap((4, 6), (0, 9)) == (4, 6)


def test_overlap_none():
    assert overlap((1, 3), (3, 5)) is None


def test_longest():
    assert longest([(7, 9), (2, 3), (4, 6)]) == (4, 6)
    assert longest([(1, 2), (3, 8)]) == (3, 8)


def test_longest_empty():
    assert longest([]) is None
    assert longest([], default=(0, 0)) == (0, 0)
