"""What a load test shows: the page of one run or two, and the lines during a run."""

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from hdrh.histogram import HdrHistogram
from rich.console import Console

from loadtest import limits, page, results, scenarios, words
from loadtest.live import LINE_EVERY_S, SHOWN_WRONG, LiveView
from loadtest.page import SHOWN_WRONG as SHOWN_ON_PAGE
from loadtest.recorder import NAMES
from loadtest.results import Check, Quantiles, Result, Second, Usage
from loadtest.verdict import AUDIT
from loadtest.viewer import Counts
from protocol import REASONS
from protocol.closes import Close

HOSTILE = "<script>alert('mallory')</script> & [red]co[/red]"
SECONDS = 12
VOID = ("meta", "br")


def quantiles(values_us: range, *, whole: bool = False) -> Quantiles:
    """Quantiles of these values, with the histogram if they are the whole run's."""
    histogram = HdrHistogram(1, 120_000_000, 3)
    for value in values_us:
        histogram.record_value(value)
    at = {q: histogram.get_value_at_percentile(q) / 1000 for q in (50, 90, 99, 99.9)}
    return Quantiles(
        count=histogram.get_total_count(),
        p50=at[50],
        p90=at[90],
        p99=at[99],
        p999=at[99.9],
        max=histogram.get_max_value() / 1000,
        hdr=histogram.encode().decode() if whole else "",
    )


def second(at_s: int, slow: int = 1) -> Second:
    """Joins happen in the first half; nothing is shown in the fifth second."""
    measured = {"command to reply": quantiles(range(1000, 9000 * slow, 500))}
    if at_s != 5:
        measured["gift to shown"] = quantiles(range(20_000, 90_000 * slow, 5000))
    return Second(
        at_s=float(at_s),
        rates={"received": 20_000.0 + at_s} | ({"joins": 8.0} if at_s < 6 else {}),
        open=100,
        latencies=measured,
        processes={"node": Usage(0.5 * slow, 61.0 + at_s), "wallet store": Usage(0.1, 12.0)},
        loop_lag_p99_ms=2.5,
        phase="coming" if at_s < 6 else "a node is killed",
    )


def run(slow: int = 1, wrong: tuple[str, ...] = ()) -> Result:
    return Result(
        scenario="chat_storm",
        plan={
            "viewers": 100,
            "url": "http://127.0.0.1:1",
            "slow": slow,
            "phases": [{"name": "calm"}, {"name": HOSTILE}],
        },
        machine={"machine": "a machine", "commit": "0123456789ab"},
        began_ms=1_795_343_000_000,
        seconds=float(SECONDS),
        totals={"received": 24_000 * slow, "gifts": 7},
        latencies={
            "command to reply": quantiles(range(1000, 90_000 * slow, 10), whole=True),
            "gift to shown": quantiles(range(20_000, 900_000 * slow, 100), whole=True),
        },
        series=[second(at_s, slow) for at_s in range(1, SECONDS + 1)],
        checks=[Check("order", "100 viewers, 240 events", []), Check("sums", "7 gifts <of> 35 coins", list(wrong))],
        server={"address": "http://127.0.0.1:8000", "version": "1.2.3"},
    )


class Read(HTMLParser):
    """A page's tags and the text in each kind of tag; it checks that tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.svgs: list[list[str]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "svg":
            self.svgs.append([])
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self.words.append(data)
        if "text" in self._open:
            self.svgs[-1].append(data)

    @property
    def said(self) -> str:
        return " ".join(" ".join(self.words).split())

    def titles(self) -> int:
        return sum(tag == "figcaption" for tag, _ in self.tags)


def plots(text: str) -> list[str]:
    return re.findall(r"<svg .*?</svg>", text, re.DOTALL)


@pytest.fixture(scope="module")
def both() -> str:
    """The page of a run that passed and of a slower one that failed."""
    return page.page([run(), run(2, (f"viewer {HOSTILE} saw 6 of 7 gifts", *map(str, range(900, 930))))])


def test_a_page_needs_no_other_file(both: str) -> None:
    """It loads no script, link or image, and each reference leads to a place in the page."""
    read = Read(both)
    assert {tag for tag, _ in read.tags} & {"script", "link", "img", "iframe", "object"} == set()
    led = [
        value or "" for _, given in read.tags for name, value in given.items() if name in ("src", "xlink:href", "href")
    ]
    assert [value for value in led if not value.startswith("#")] == []
    assert not re.search(r"@import|url\((?!#)", both)
    ids = {given["id"] for _, given in read.tags if given.get("id")}
    assert {value[1:] for value in led} | set(re.findall(r"url\(#([^)]+)\)", both)) <= ids
    assert ids


def test_a_page_says_the_verdict_first(both: str) -> None:
    """Each run's checks with their numbers; for a failed one the first violations, always as text."""
    read = Read(both)
    verdicts = [given["class"] for tag, given in read.tags if tag == "section" and "verdict" in (given["class"] or "")]
    assert verdicts == ["verdict passed", "verdict failed"]
    said = read.said
    assert said.count("order 100 viewers, 240 events") == 2
    assert said.count("sums 7 gifts <of> 35 coins") == 2
    assert said.index("Failed: 1 of 2 checks") < said.index("Totals")
    assert f"viewer {HOSTILE} saw 6 of 7 gifts" in said
    assert str(900 + SHOWN_ON_PAGE - 2) in said
    assert str(900 + SHOWN_ON_PAGE - 1) not in said
    assert "and 21 more" in said


def test_a_comparison_has_both_runs_everywhere(both: str) -> None:
    """Every plot has a line and a legend for each run; tables have both values and their ratio."""
    read = Read(both)
    assert len(read.svgs) == read.titles() == 2 * 2 + 3 + 2 + 1 + 2  # latencies, rates, CPU, lag, memory
    for texts in read.svgs:
        named = {text.split(" ")[0] for text in texts}
        assert {"A", "B"} <= named, texts
    assert {"A p50", "A p99", "A max", "B p50", "B p99", "B max"} <= set(read.svgs[0])
    assert {"p90", "p99", "p99.9"} <= set(read.svgs[1])
    drawn = plots(both)
    assert len(drawn) == len(read.svgs)
    assert [svg for svg in drawn if "stroke: var(--a)" not in svg or "stroke: var(--b)" not in svg] == []
    assert not re.search("#010a", both)  # all colours are those of the page, light or dark
    assert "received 24,000 48,000 2.00" in read.said
    assert re.search(r"B / A (2\.\d\d|1\.9\d) ", read.said)  # a ratio of latencies


def test_a_page_of_one_run_has_no_letters() -> None:
    """Without a comparison there is no legend of runs; phases are named where they begin."""
    read = Read(page.page([run()]))
    assert "B / A" not in read.said
    assert set(read.svgs[0]) >= {"p50", "p99", "max", "coming", "a node is killed"}
    assert not {"A", "B"} & {text for texts in read.svgs for text in texts}
    assert f"calm; {HOSTILE}" in read.said


def test_a_page_says_of_which_server_it_is_and_what_its_words_mean(both: str) -> None:
    """Address and version of the server; each name on the page in a sentence, once."""
    said = Read(both).said
    assert "address http://127.0.0.1:8000" in said
    assert "version 1.2.3" in said
    for name in ("command to reply", "gift to shown", "received", "gifts", "order", "sums"):
        assert said.count(f"{name} {words.meaning(name)}") == 1, name


def test_every_word_has_a_meaning() -> None:
    """Whatever a run counts, measures or checks can be looked up, and so can each refusal and each close."""
    counted = {field.name for field in msgspec.structs.fields(Counts)} - {"replies", "closes"}
    judged = {check.name for check in limits.checks(limits.Limits(), {}, {}, [])} | {AUDIT}
    refused = {f"reply {reason}" for reason in REASONS} | {f"closed {int(code)}" for code in Close}
    assert [name for name in (*counted, *NAMES, *judged, *refused) if not words.meaning(name)] == []
    assert words.meaning("closed 4999") == words.meaning("reply never") == ""


def test_a_second_without_a_latency_is_a_gap() -> None:
    """A line is interrupted where nothing was measured."""
    replies, _, shown, *_ = plots(page.page([run()]))
    lines = [[path for path in re.findall(r' d="(M[^"]*)"', svg) if path.count("L") > 6] for svg in (replies, shown)]
    assert [[path.count("M") for path in of_each] for of_each in lines] == [[1] * 3, [2] * 3]
    heights = [set(re.findall(r"[ML] \S+ (\S+)", path)) for path in lines[1]]  # each second has the same latencies
    assert [len(found) for found in heights] == [1, 1, 1]


def test_a_page_leaves_out_what_was_not_measured() -> None:
    """A run without processes, lag, histograms or seconds has no such plots, and no empty chapters."""
    whole = run()
    bare = [msgspec.structs.replace(each, processes={}, loop_lag_p99_ms=None) for each in whole.series]
    without_hdr = {name: msgspec.structs.replace(found, hdr="") for name, found in whole.latencies.items()}
    read = Read(page.page([msgspec.structs.replace(whole, series=bare, latencies=without_hdr)]))
    assert len(read.svgs) == 2 + 3
    assert "of the server" not in read.said
    nothing = msgspec.structs.replace(whole, series=[], latencies={}, totals={}, checks=[])
    read = Read(page.page([nothing, nothing]))
    assert read.svgs == []
    assert "Nothing was checked" in read.said
    for chapter in ("Latencies", "Rates", "Totals"):
        assert chapter not in read.said
    assert Read(page.page([msgspec.structs.replace(whole, series=whole.series[:1])])).svgs  # a run of one second


def test_the_same_runs_make_the_same_page(both: str, tmp_path: Path) -> None:
    """The command reads the files of two runs and writes the same page again, byte for byte."""
    runs = [run(), run(2, (f"viewer {HOSTILE} saw 6 of 7 gifts", *map(str, range(900, 930))))]
    files = [tmp_path / "of a run" / "a.json", tmp_path / "of a run" / "b.json"]  # `write` makes the folder
    for result, file in zip(runs, files, strict=True):
        results.write(result, file)
    assert page.main([*map(str, files), "-o", str(tmp_path / "report.html")]) == 0
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == both


@pytest.mark.parametrize("name", ["mixed_evening", "node_kill", "big_room"])
def test_a_plan_is_said_in_words(name: str) -> None:
    """Phases, limits, yes and no; of a run that has just ended, and of one that was read from its file."""
    ended = msgspec.structs.replace(run(), plan=msgspec.to_builtins(scenarios.ALL[name](100, 60.0)))
    text = page.page([ended])
    assert page.page([msgspec.json.decode(msgspec.json.encode(ended), type=Result)]) == text
    said = Read(text).said
    assert [raw for raw in ("{", '"', "max_p99", "null", "true") if raw in said] == []
    assert "% of the time" in said


@pytest.mark.parametrize("given", [["none.json"], ["torn.json"], ["torn.json"] * 3])
def test_the_command_says_what_it_cannot_read(
    given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing file, a broken one, or too many: one sentence, status 2, and no page."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "torn.json").write_text('{"scenario":')
    with pytest.raises(SystemExit) as ended:
        page.main(given)
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


# --- during a run ----------------------------------------------------------------------------------------------------
def watched(console: Console, wrong_from_s: int = 6) -> str:
    """What a view prints for a whole run."""
    assert isinstance(console.file, io.StringIO)
    wrong = [f"viewer {HOSTILE} {n}" for n in range(SHOWN_WRONG + 2)]
    with LiveView(SECONDS, console) as view:
        for each in run().series:
            view.update(each, each.phase, {"received": 123_456}, wrong if each.at_s >= wrong_from_s else [])
    return console.file.getvalue()


def test_a_view_without_a_terminal_prints_lines() -> None:
    """A line every five seconds, and the first violations immediately, each once."""
    lines = watched(Console(file=io.StringIO(), soft_wrap=True)).splitlines()
    told = [line for line in lines if not line.startswith("WRONG")]
    assert [line.split("/")[0] for line in told] == [str(at) for at in range(1, SECONDS + 1, LINE_EVERY_S)]
    assert "coming: 100 open, received 20,001/s, joins 8/s, command to reply p50" in told[0]
    assert "node 0.50 cores 62 MiB" in told[0]
    assert [line for line in lines if line.startswith("WRONG")] == [
        f"WRONG viewer {HOSTILE} {n}" for n in range(SHOWN_WRONG)
    ]
    assert told[-1].endswith(f"{SHOWN_WRONG + 2} wrong")


def test_a_view_in_a_terminal_shows_now_and_so_far() -> None:
    """Phase, time left, rates, latencies, processes and violations; markup in a name stays text."""
    shown = watched(Console(file=io.StringIO(), force_terminal=True, width=120, height=50, soft_wrap=True))
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    for said in (
        "a node is killed",
        "0:06 left",
        "ending",
        "123,456",
        "20,012",
        "gift to shown",
        "wallet store",
        "loop lag",
    ):
        assert said in shown, said
    assert f"WRONG viewer {HOSTILE} 0" in shown
    assert "and 2 more" in shown
