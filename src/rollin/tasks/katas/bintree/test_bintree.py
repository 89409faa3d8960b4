from bintree import Node, below, depth_of, in_order, insert


def grown(*values):
    root = None
    for value in values:
        root = insert(root, value)
    return root


def test_insert_into_nothing():
    assert insert(None, 5) == Node(5)


def test_insert():
    root = insert(insert(Node(5), 2), 8)
    assert root == Node(5, lesser=Node(2), greater=Node(8))
    assert insert(root, 3).lesser == Node(2, greater=Node(3))


def test_insert_duplicate():
    assert insert(Node(5, Node(2)), 2) == Node(5, lesser=Node(2))


def test_in_order():
    assert in_order(grown(5, 2, 8, 1, 9, 3)) == [1, 2, 3, 5, 8, 9]
    assert in_order(None) == []


def test_depth_of():
    root = grown(5, 2, 8, 3)
    assert [depth_of(root, value) for value in (5, 2, 8, 3)] == [0, 1, 1, 2]


def test_depth_of_missing():
    assert depth_of(grown(5, 2), 4) is None
    assert depth_of(None, 1) is None


def test_below():
    assert below(grown(5, 2, 8, 1), 5) == [1, 2]
    assert below(grown(5, 2, 8, 1), 6) == [1, 2, 5]


def test_below_none():
    assert below(grown(5, 2), 2) == []
