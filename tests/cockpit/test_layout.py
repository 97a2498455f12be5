"""Where panels go: nothing overlaps, nothing hangs out, and what matters is always there."""

from hypothesis import given
from hypothesis import strategies as st
from textual.geometry import Size

from cockpit.layout import is_compact, regions

sizes = st.builds(Size, st.integers(60, 400), st.integers(12, 150))
ALWAYS = ("pairs", "positions", "equity", "log")


@given(sizes, st.integers(1, 60))
def test_panels_fill_the_board_and_do_not_overlap(size: Size, positions: int) -> None:
    places = regions(size, lambda width: positions)
    cells = sum(place.area for place in places.values())
    for name, place in places.items():
        assert size.region.contains_region(place), name
        assert all(not place.overlaps(other) for key, other in places.items() if key != name)
    gutter = size.height if is_compact(size) else 0
    assert size.area - gutter <= cells <= size.area


@given(sizes, st.integers(1, 60))
def test_what_matters_is_always_seen(size: Size, positions: int) -> None:
    places = regions(size, lambda width: positions)
    edge = 1 if is_compact(size) else 2
    for name in ALWAYS:
        assert places[name].height > edge, name
    assert places["pairs"].height >= 4


def test_at_80x24_the_four_that_matter_are_shown() -> None:
    places = regions(Size(80, 20), lambda width: 4)
    assert set(places) == set(ALWAYS)
    assert places["pairs"].height >= 8
    assert places["positions"].height == 5, "two positions of two lines below a rule"


def test_in_a_roomy_terminal_everything_is_shown() -> None:
    places = regions(Size(160, 45), lambda width: 6)
    assert set(places) == {*ALWAYS, "streams", "clusters"}
    assert places["streams"].height == 13, "ten streams, a heading and the frame"


def test_more_positions_take_room_from_pairs_but_do_not_starve_them() -> None:
    few = regions(Size(160, 45), lambda width: 3)
    many = regions(Size(160, 45), lambda width: 300)
    assert many["positions"].height > few["positions"].height
    assert many["pairs"].height >= 8


def test_a_maximised_panel_has_all_the_room() -> None:
    assert regions(Size(80, 20), lambda width: 4, "log") == {"log": Size(80, 20).region}


def test_a_table_of_all_assets_takes_up_to_a_third() -> None:
    few, ten, many = (regions(Size(160, 45), lambda width: 6, clusters=count) for count in (0, 11, 501))
    assert few["clusters"].height < ten["clusters"].height == 13 <= many["clusters"].height == 15
