from traffic import Light, following, light_at, load_timings, wait_for_green

TIMINGS = {Light.RED: 4, Light.GREEN: 3, Light.AMBER: 1}


def test_load_timings_reads_every_light():
    assert load_timings() == {Light.RED: 30, Light.GREEN: 25, Light.AMBER: 5}


def test_following_moves_forward():
    assert following(Light.RED) is Light.GREEN
    assert following(Light.GREEN) is Light.AMBER


def test_following_wraps_around():
    assert following(Light.AMBER) is Light.RED


def test_light_at_boundaries():
    lights = [light_at(second, TIMINGS).value for second in (0, 3, 4, 6, 7)]
    assert lights == ["red", "red", "green", "green", "amber"]


def test_light_at_repeats_after_a_cycle():
    assert light_at(8, TIMINGS) is Light.RED
    assert light_at(21, TIMINGS) is Light.GREEN


def test_wait_for_green_is_zero_on_green():
    assert wait_for_green(4, TIMINGS) == 0
    assert wait_for_green(6, TIMINGS) == 0


def test_wait_for_green_on_red():
    assert wait_for_green(1, TIMINGS) == 3


def test_wait_for_green_on_amber_spans_the_next_red():
    assert wait_for_green(7, TIMINGS) == 5
    assert wait_for_green(15, TIMINGS) == 5
