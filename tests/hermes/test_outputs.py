import datetime
import os
import stat
import time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from hermes_oscron.hermes import output_page, outputs
from hermes_oscron.hermes.home import Home

NOON = datetime.datetime(2026, 3, 15, 12, 0, 0, tzinfo=datetime.UTC)
SECOND = datetime.timedelta(seconds=1)


def test_an_output_is_named_after_its_second(home: Home, root: Path) -> None:
    assert outputs.write(home, "a", NOON, "hello\n") == "2026-03-15_12-00-00.md"
    path = root / "cron" / "output" / "a" / "2026-03-15_12-00-00.md"
    assert path.read_text() == "hello\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_second_output_of_the_same_second_is_kept_as_the_newer_one(home: Home) -> None:
    for text in ("first", "second", "third"):
        outputs.write(home, "a", NOON, text)
    assert [content for _, content in outputs.newest(home, "a", 5)] == ["third", "second", "first"]


def test_more_than_ten_outputs_of_one_second_are_in_order_too(home: Home) -> None:
    for n in range(12):
        outputs.write(home, "a", NOON, str(n))
    assert [content for _, content in outputs.newest(home, "a", 20)] == [str(n) for n in range(11, -1, -1)]


def test_an_output_of_an_earlier_second_is_older_than_any_of_a_later_one(home: Home) -> None:
    for when, text in ((NOON, "1"), (NOON, "2"), (NOON + SECOND, "3"), (NOON + SECOND, "4")):
        outputs.write(home, "a", when, text)
    assert [content for _, content in outputs.newest(home, "a", 5)] == ["4", "3", "2", "1"]


def age(root: Path, name: str, seconds: float) -> None:
    """Make the output `name` of `a` one that was written `seconds` ago."""
    written = time.time() - seconds
    os.utime(root / "cron" / "output" / "a" / name, (written, written))


@pytest.mark.parametrize(("earlier", "later"), [
    (NOON.replace(year=2099), NOON),  # the clock was ahead
    (NOON.astimezone(ZoneInfo("Asia/Tokyo")), (NOON + SECOND).astimezone(ZoneInfo("America/Los_Angeles"))),
    (NOON.replace(hour=2, minute=59, fold=0), NOON.replace(hour=2, minute=1, fold=1)),  # the repeated hour
])
def test_outputs_are_listed_by_the_time_at_which_they_were_written(home: Home, root: Path, earlier: datetime.datetime,
                                                                   later: datetime.datetime) -> None:
    age(root, outputs.write(home, "a", earlier, "first"), 60)
    outputs.write(home, "a", later, "second")
    assert [content for _, content in outputs.newest(home, "a", 5)] == ["second", "first"]
    pages, _ = outputs.history(home, "a", 0, 5)
    assert [page.modified for page in pages] == sorted((page.modified for page in pages), reverse=True)


def test_outputs_that_a_clock_far_ahead_wrote_are_the_oldest(home: Home, root: Path) -> None:
    Path(home.path, "config.yaml").write_text("cron: {output_retention: 3}\n")
    for n in range(3):
        age(root, outputs.write(home, "a", NOON.replace(year=2099) + n * SECOND, f"ahead {n}"), -70 * 365 * 86400 - n)
    kept = []
    for n in range(4):
        outputs.write(home, "a", NOON + n * SECOND, str(n))
        kept.append([content for _, content in outputs.newest(home, "a", 5)])
    assert kept == [["0", "ahead 2", "ahead 1"], ["1", "0", "ahead 2"], ["2", "1", "0"], ["3", "2", "1"]]


def test_the_output_just_written_is_kept_although_all_others_are_newer(home: Home, root: Path,
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    Path(home.path, "config.yaml").write_text("cron: {output_retention: 2}\n")
    for n in range(2):
        outputs.write(home, "a", NOON + n * SECOND, str(n))
    write_atomic = outputs.write_atomic

    def write_long_ago(path: str, content: bytes) -> None:
        write_atomic(path, content)
        os.utime(path, (0, 0))  # as on a machine whose clock starts in 1970

    monkeypatch.setattr(outputs, "write_atomic", write_long_ago)
    outputs.write(home, "a", NOON.replace(year=1970), "1970")
    assert [content for _, content in outputs.newest(home, "a", 5)] == ["1", "1970"]


def test_the_newest_50_outputs_are_kept(home: Home) -> None:
    for n in range(53):
        outputs.write(home, "a", NOON + n * SECOND, str(n))
    outputs.write(home, "b", NOON, "other")
    assert [content for _, content in outputs.newest(home, "a", 500)] == [str(n) for n in range(52, 2, -1)]
    assert len(outputs.filenames(home, "b")) == 1


@pytest.mark.parametrize(("config", "kept"), [
    ("cron:\n  output_retention: 3\n", 3), ("cron: {output_retention: 60}\n", 55),
    ("cron: {output_retention: 0}\n", 55), ("cron: {output_retention: -1}\n", 55),
    ("cron: {output_retention: many}\n", 50), ("cron: [output_retention\n", 50),
])
def test_as_many_outputs_are_kept_as_the_agent_is_configured_to_keep(home: Home, config: str, kept: int) -> None:
    Path(home.path, "config.yaml").write_text(config)
    for second in range(55):
        outputs.write(home, "a", NOON + second * SECOND, "text")
    assert len(outputs.filenames(home, "a")) == kept


def test_other_files_are_neither_listed_nor_removed(home: Home, root: Path) -> None:
    folder = root / "cron" / "output" / "a"
    folder.mkdir(parents=True)
    for name in ("notes.txt", ".2026-01-01_00-00-00.md.7.tmp"):
        (folder / name).write_text("kept")
    for n in range(51):
        outputs.write(home, "a", NOON + n * SECOND, str(n))
    assert len(outputs.filenames(home, "a")) == 50
    assert (folder / "notes.txt").exists()


def test_a_job_that_never_ran_has_no_outputs(home: Home) -> None:
    assert (outputs.filenames(home, "a"), outputs.newest(home, "a", 5)) == ([], [])
    outputs.remove(home, "a")


def test_remove_deletes_all_outputs_of_one_job(home: Home, root: Path) -> None:
    for job_id in ("a", "b"):
        outputs.write(home, job_id, NOON, "x")
    outputs.remove(home, "a")
    assert [path.name for path in (root / "cron" / "output").iterdir()] == ["b"]


def test_invalid_utf_8_is_read_with_replacement_characters(home: Home, root: Path) -> None:
    (root / "cron" / "output" / "a").mkdir(parents=True)
    (root / "cron" / "output" / "a" / "2026-01-01_00-00-00.md").write_bytes(b"caf\xe9 au lait")
    assert outputs.newest(home, "a", 1)[0][1] == "caf\ufffd au lait"


def test_text_that_utf_8_cannot_encode_is_written_with_replacements(home: Home) -> None:
    outputs.write(home, "a", NOON, "x\ud800y")
    assert outputs.newest(home, "a", 1)[0][1] == "x?y"


def test_an_output_of_up_to_8000_characters_is_not_cut() -> None:
    for text in ("", "x" * 8000, "é" * 8000, "## Response" + "x" * 7989):
        assert output_page.window(text) == text


def test_a_longer_output_is_cut_to_its_beginning_and_its_response() -> None:
    answer = "## Response\n\n" + "a" * 9000
    assert output_page.window("h" * 200 + "p" * 10_000 + "\n" + answer) == "h" * 200 + "\n...\n" + answer


def test_the_response_begins_at_its_heading_and_not_at_a_mention_in_the_prompt() -> None:
    asked = "see ### Response: " + "p" * 10_000
    assert output_page.window(f"{asked}\n## Response\n\nyes") == asked[:200] + "\n...\n## Response\n\nyes"
    assert output_page.window(asked) == asked[-8000:]


def test_a_longer_output_without_a_response_is_cut_to_its_end() -> None:
    assert output_page.window("x" + "y" * 8000) == "y" * 8000


def test_usage_is_read_from_the_lines_of_the_heading() -> None:
    for line, used in (
        ("**Tokens:** 1,234 in / 56 out", {"input_tokens": 1234, "output_tokens": 56, "total_tokens": 1290}),
        ("**Tokens:** 12 input, 3 output (20 total)", {"input_tokens": 12, "output_tokens": 3, "total_tokens": 20}),
        ("**Tokens:** 99 tokens", {"total_tokens": 99}),
        ("**Tokens:** " + "9" * 5000 + " in", {}),
        ("**Cost:** $1,234.5", {"estimated_cost_usd": 1234.5}),
        ("**Cost:** $.05", {"estimated_cost_usd": 0.05}),
        ("**Cost:** unknown", {}),
        ("**Duration:** 62.5s", {"duration_seconds": 62.5}),
        ("**Duration:** 1h 2m 3s", {"duration_seconds": 3723.0}),
        ("**Duration:** 7", {"duration_seconds": 7.0}),
        ("**Duration:** 500ms", {}), ("**Duration:** 1:02:03", {}), ("**Duration:** s", {}),
        ("**Model:** a/b-c:free \n**Provider:** custom", {"model": "a/b-c:free", "provider": "custom"}),
        ("**Model:**", {}), ("Model: x", {}), ("a **Model:** x", {}), ("", {}),
    ):
        assert output_page.usage(f"# Cron Job: x\n\n**Job ID:** a\n{line}\n\n## Prompt\n\nhi\n") == used, line


def test_usage_is_not_read_from_the_text_of_the_job() -> None:
    for page in ("## Prompt\n\n**Model:** x\n", "# Cron Job: x\n\n---\n\n**Model:** x\n",
                 "**Model:** y\n\n## Response\n**Model:** x\n**Cost:** $5\n"):
        assert output_page.usage(page) in ({}, {"model": "y"})


def test_the_total_size_of_several_outputs_is_limited(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "MAX_ANSWER_CHARS", 2000)
    for n in range(5):
        outputs.write(home, "a", NOON + n * SECOND, str(n) * 900)
    assert [content[0] for _, content in outputs.newest(home, "a", 5)] == ["4", "3"]
