"""A line for everything that a person would want to know, and none for what is no news."""

from core.domain.snapshot import LogLine
from core.engine.narrator import Narrator
from core.portfolio.events import Reported, Stepped
from tests.engine.desk import Desk
from tests.execution.fakes import BTC


def lines(desk: Desk, kind: str) -> list[LogLine]:
    return [line for line in desk.lines if line.kind == kind]


def test_lines_are_numbered_without_a_gap_for_every_sink() -> None:
    narrator, first, second = Narrator(), [], []
    narrator.sink(first.append)
    narrator.say(1, "engine", "info", "one")
    narrator.sink(second.append)
    narrator.say(2, "engine", "info", "two")
    assert [line.seq for line in first] == [1, 2] and [line.seq for line in second] == [2]


async def test_a_round_trip_reads_as_a_story(desk: Desk) -> None:
    await desk.until_held()
    await desk.until_held(False)
    assert [line.seq for line in desk.lines] == list(range(1, len(desk.lines) + 1))
    opened, closed = lines(desk, "order")[0].text, lines(desk, "exit")[-1].text
    assert (
        opened.startswith("open BTC/ETH (strategy, z ") and BTC in opened and ("buy" in opened and "sell" in opened)
    )
    assert closed == "close BTC/ETH: done"
    assert len(lines(desk, "fill")) == desk.books.fills
    assert all("fee -" in line.text and line.text.endswith("USDT") for line in lines(desk, "fill"))
    decisions = [line.text for line in lines(desk, "decision")]
    assert "enter BTC/ETH" in decisions and any(text.startswith("exit BTC/ETH: ") for text in decisions)
    assert any(text.startswith("hold: BTC/ETH: ") for text in decisions)


async def test_funding_is_told_with_its_amount(desk: Desk) -> None:
    await desk.until_held()
    desk.venue.pay_funding(BTC, "0.0001")
    await desk.bars()
    assert [line.text.split(" ")[:2] for line in lines(desk, "funding")] == [[f"{BTC}:", "funding"]]


async def test_a_refusal_is_a_warning_with_the_exchanges_words(desk: Desk) -> None:
    desk.venue.faults += ["51008"] * 3
    await desk.ask("open", "BTC/ETH", 1)
    warned = [line for line in desk.lines if line.level == "warn"]
    assert any("rejected: 51008" in line.text for line in warned)
    assert any(line.text.startswith("open BTC/ETH: aborted 51008") for line in warned)


async def test_commands_and_switches_are_told_with_who_asked(desk: Desk) -> None:
    await desk.ask("pause")
    assert lines(desk, "command")[-1].text.startswith("pause by test: reducing: no new positions")
    assert lines(desk, "engine")[-1].text == "reducing: paused by test"


async def test_steps_and_ordinary_reports_are_no_news(desk: Desk) -> None:
    await desk.until_held()
    assert desk.told(Stepped) and desk.told(Reported)
    assert not any("live" in line.text or "step" in line.text for line in lines(desk, "order"))


async def test_what_was_folded_at_the_start_is_not_told_again(desk: Desk) -> None:
    await desk.until_held()
    before = len(lines(desk, "fill"))
    await desk.restart()
    assert len(lines(desk, "fill")) == before
