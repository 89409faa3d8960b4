import pytest
from semver import Version, best_match


def test_parse_plain_and_prefixed():
    assert Version.parse("1.20.3") == Version(1, 20, 3)
    assert Version.parse("v0.4.10") == Version(0, 4, 10)


def test_parse_rejects_short_text():
    with pytest.raises(ValueError, match="not a version: 1.2"):
        Version.parse("1.2")


def test_label_has_all_numbers():
    assert Version(2, 0, 7).label == "v2.0.7"
    assert Version(3).label == "v3.0.0"


def test_bump_major_and_minor():
    assert Version(1, 4, 2).bump("major") == Version(2, 0, 0)
    assert Version(1, 4, 2).bump("minor") == Version(1, 5, 0)


def test_bump_patch_is_default():
    assert Version(1, 4, 2).bump() == Version(1, 4, 3)
    assert Version(1, 4, 2).bump("patch") == Version(1, 4, 3)


def test_accepts_same_major():
    assert Version(1, 4, 2).accepts(Version(1, 4, 2))
    assert Version(1, 4, 2).accepts(Version(1, 10, 0))
    assert not Version(1, 4, 2).accepts(Version(1, 4, 1))
    assert not Version(1, 4, 2).accepts(Version(2, 0, 0))


def test_accepts_same_minor_below_one():
    assert Version(0, 3, 1).accepts(Version(0, 3, 9))
    assert not Version(0, 3, 1).accepts(Version(0, 4, 0))


def test_best_match_takes_newest():
    versions = [Version(1, 2), Version(1, 10, 1), Version(1, 9, 9), Version(2)]
    assert best_match(Version(1, 2), versions) == Version(1, 10, 1)


def test_best_match_none():
    assert best_match(Version(3), [Version(1, 2), Version(4)]) is None
