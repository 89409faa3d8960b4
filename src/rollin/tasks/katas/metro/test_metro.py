from metro import load_network, route, stops_between, unreachable


def test_load_network():
    assert len(load_network()) == 7
    assert load_network()["zoo"] == ["museum"]


def test_route():
    stations = ["airport", "harbour", "market", "museum", "zoo"]
    assert route(load_network(), "airport", "zoo") == stations


def test_route_prefers_shortest():
    network = {"a": ["b", "c"], "b": ["d"], "c": ["e"], "d": ["e"], "e": []}
    assert route(network, "a", "e") == ["a", "c", "e"]


def test_route_without_connection():
    assert route(load_network(), "airport", "depot") == []
    assert route(load_network(), "depot", "depot") == ["depot"]


def test_stops_between():
    assert stops_between(load_network(), "airport", "museum") == 3
    assert stops_between(load_network(), "zoo", "zoo") == 0


def test_stops_between_no_route():
    assert stops_between(load_network(), "zoo", "depot") == -1


def test_unreachable():
    assert unreachable(load_network(), "market") == ["depot"]


def test_unreachable_one_way():
    network = {"a": ["b"], "b": [], "d": ["a"], "c": ["b"]}
    assert unreachable(network, "a") == ["c", "d"]
