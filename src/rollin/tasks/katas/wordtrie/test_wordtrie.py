from wordtrie import WordTrie

TEXT = "Tea for ten, to tell a tale: team tea!"


def test_learn():
    trie = WordTrie()
    assert trie.learn(TEXT) == 9
    assert trie.learn("...") == 0


def test_learn_adds_to_earlier_words():
    trie = WordTrie("one")
    trie.learn("Two")
    assert trie.words() == ["one", "two"]


def test_knows():
    assert WordTrie(TEXT).knows("tea")
    assert WordTrie(TEXT).knows("a")


def test_knows_no_prefix():
    assert not WordTrie(TEXT).knows("tel")
    assert not WordTrie(TEXT).knows("teapot")


def test_knows_adds_nothing():
    trie = WordTrie("ant")
    assert not trie.knows("bee")
    assert list(trie.tree) == ["a"]


def test_words():
    assert WordTrie("bee be ant bed").words() == ["ant", "be", "bed", "bee"]


def test_words_prefix():
    assert WordTrie(TEXT).words(prefix="tea") == ["tea", "team"]
    assert WordTrie(TEXT).words(prefix="x") == []


def test_complete():
    assert WordTrie(TEXT).complete("te") == ["tea", "team", "tell"]


def test_complete_few():
    assert WordTrie(TEXT).complete("to") == ["to"]
