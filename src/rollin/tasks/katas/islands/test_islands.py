from islands import Islands


def linked_islands(*pairs):
    islands = Islands()
    for first, second in pairs:
        islands.link(first, second)
    return islands


def test_root():
    islands = linked_islands("ab", "cb")
    assert islands.root("c") == islands.root("a") == "b"


def test_root_unknown():
    islands = Islands()
    assert islands.root("new") == "new"
    assert islands.groups() == [["new"]]


def test_link():
    islands = Islands()
    assert islands.link("a", "b")
    assert not islands.link("b", "a")


def test_link_keeps_larger_root():
    islands = linked_islands("ab", "bc")
    assert islands.link("a", "z")
    assert islands.root("z") == "b"


def test_linked():
    islands = linked_islands("ab", "cd", "de")
    assert islands.linked("c", "e")
    assert not islands.linked("a", "e")


def test_size():
    islands = linked_islands("ab", "cd", "bd")
    assert islands.size("a") == islands.size("c") == 4
    assert islands.size("x") == 1


def test_size_of_repeated_link():
    assert linked_islands("ab", "ba", "ab").size("b") == 2


def test_groups():
    islands = linked_islands("ca", "bd", "ee")
    assert islands.groups() == [["a", "c"], ["b", "d"], ["e"]]


def test_groups_smallest():
    islands = linked_islands("ca", "bd", "ee")
    assert islands.groups(smallest=2) == [["a", "c"], ["b", "d"]]
