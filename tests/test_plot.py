"""The report's picture."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image
from report_room import attempt, filled, task

from rollin.errors import UserError
from rollin.report.plot import plot, series
from rollin.store import Exit, Purpose, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return filled(tmp_path)


def test_the_plot_is_a_picture_of_its_size(store: Store, tmp_path: Path) -> None:
    path = plot(store, tmp_path / "report" / "result.png")
    assert path == tmp_path / "report" / "result.png"
    with Image.open(path) as image:
        assert (image.format, image.size) == ("PNG", (1440, 608))
        assert len(image.convert("RGB").getcolors(1 << 20) or []) > 20
    bars = path.read_bytes()
    attempt(store, "a", 2, Purpose.EVAL, Exit.SUBMITTED, False)
    assert plot(store, path).read_bytes() != bars


def test_a_source_that_looks_like_a_formula_is_drawn_as_it_is(store: Store, tmp_path: Path) -> None:
    odd = task("a").model_copy(update={"instance_id": "odd", "source": r"a$\frac$"})
    store.add_tasks([odd])
    for iteration in (0, 2):
        attempt(store, "odd", iteration, Purpose.EVAL, Exit.SUBMITTED, True)
        plot(store, tmp_path / "result.png")


@pytest.mark.parametrize(
    ("losses", "below", "above"),
    [([0.5, 2.0], 0, 2.0), ([-0.5, 0.25], -0.5, 0.25), ([-2.0, -1.0], -2.0, 0), ([0.0], 0, 0)],
)
def test_the_plot_of_the_loss_shows_every_point(losses: list[float], below: float, above: float) -> None:
    axes = Figure().add_subplot()
    series(axes, [*enumerate(losses, 1)], "black", "nothing")
    bottom, top = axes.get_ylim()
    assert bottom <= below
    assert bottom < top
    assert above <= top


def test_a_plot_that_cannot_be_written_is_one_sentence(store: Store, tmp_path: Path) -> None:
    (tmp_path / "report").write_text("a file")
    with pytest.raises(UserError, match="cannot write the plot"):
        plot(store, tmp_path / "report" / "result.png")
