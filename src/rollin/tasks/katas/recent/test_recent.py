from recent import RecentCache


def loaded(letters, **options):
    cache = RecentCache(**options)
    for letter in letters:
        cache.store(letter, letter.upper())
    return cache


def test_store_drops_oldest():
    cache = loaded("abc")
    assert cache.store("d", "D") == ["a"]
    assert cache.labels() == ["d", "c", "b"]


def test_store_again_refreshes():
    cache = loaded("abc")
    assert cache.store("a", "new") == []
    assert cache.labels() == ["a", "c", "b"]


def test_store_capacity():
    cache = loaded("a", capacity=1)
    assert cache.store("b", "B") == ["a"]
    assert cache.labels() == ["b"]


def test_fetch():
    assert loaded("ab").fetch("a") == "A"
    assert loaded("ab").fetch("z") == "n/a"


def test_fetch_refreshes():
    cache = loaded("abc")
    cache.fetch("a")
    assert cache.store("d", "D") == ["b"]


def test_resize():
    cache = loaded("abc")
    assert cache.resize(1) == ["a", "b"]
    assert cache.store("d", "D") == ["c"]


def test_resize_larger():
    cache = loaded("abc")
    assert cache.resize(4) == []
    assert cache.store("d", "D") == []


def test_labels():
    assert loaded("abc").labels() == ["c", "b", "a"]
    assert loaded("abc").labels(newest_first=False) == ["a", "b", "c"]
