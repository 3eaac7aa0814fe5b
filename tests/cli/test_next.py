import datetime

from .conftest import Cli


def test_each_occurrence_is_a_line_in_iso_format(cli: Cli) -> None:
    assert cli.out("next", "0 9 * * 1-5", "-n", "3", "--from", "2027-03-05T12:00:00+00:00").splitlines() == [
        "2027-03-08T09:00:00+00:00", "2027-03-09T09:00:00+00:00", "2027-03-10T09:00:00+00:00"]


def test_times_are_in_the_requested_zone_across_a_clock_change(cli: Cli) -> None:
    assert cli.out("next", "30 2 * * *", "-n", "3", "--from", "2027-03-27T00:00", "--tz",
                   "Europe/Berlin").splitlines() == [
        "2027-03-27T02:30:00+01:00", "2027-03-28T03:00:00+02:00", "2027-03-29T02:30:00+02:00"]


def test_a_start_without_a_zone_is_in_the_requested_zone(cli: Cli) -> None:
    assert cli.out("next", "0 9 * * *", "--from", "2027-01-01T09:00", "--tz", "Asia/Tokyo") == (
        "2027-01-02T09:00:00+09:00\n")


def test_the_default_is_one_occurrence_from_now(cli: Cli) -> None:
    line, = cli.out("next", "* * * * *").splitlines()
    assert 0 <= (datetime.datetime.fromisoformat(line) - datetime.datetime.now(datetime.UTC)).total_seconds() + 2 <= 62


def test_a_schedule_without_a_next_time_is_an_error(cli: Cli) -> None:
    assert cli.refused("next", "2020-01-01T00:00", "--from", "2020-01-01T00:00") == (
        "2020-01-01T00:00 is never due after 2020-01-01T00:00:00+00:00.")
    assert "is never due after 20" in cli.refused("next", "once at 2020-01-01 09:00", "-n", "3")


def test_a_one_shot_has_one_time(cli: Cli) -> None:
    assert cli.out("next", "2020-01-01T00:00", "-n", "5", "--from", "2019-01-01") == "2020-01-01T00:00:00+00:00\n"


def test_invalid_input_is_refused(cli: Cli) -> None:
    assert "61" in cli.refused("next", "61 * * * *")
    for wrong in (("--tz", "Nowhere"), ("--from", "yesterday"), ("-n", "0"), ("-n", "many")):
        cli.refused("next", "0 9 * * *", *wrong, code=2)


def test_times_beyond_the_supported_years_are_refused_in_a_sentence(cli: Cli) -> None:
    for schedule, start in (("0 9 * * *", "9999-12-31T23:00"), ("in 30m", "9999-12-31T23:59"),
                            ("2020-01-01T00:00", "9999-12-31T23:59-12:00"),
                            ("every 2h", "9999-12-31T23:59"), ("0 9 * * *", "0001-01-01T00:00:00+14:00")):
        result = cli.run("next", schedule, "--from", start)
        assert result.returncode in (1, 2) and "Traceback" not in result.stderr, (schedule, start)
