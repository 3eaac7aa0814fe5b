from hermes_oscron.hermes.timezone import machine_zone

from .conftest import Cli

UTC = "" if machine_zone().key in ("UTC", "Etc/UTC") else " UTC"


def test_each_timer_line_is_printed_on_its_own_line(cli: Cli) -> None:
    assert cli.out("translate", "0 9 * * 1-5").splitlines() == [f"OnCalendar=Mon..Fri *-*-* 09:00:00{UTC}",
                                                                "AccuracySec=1us"]


def test_day_of_month_and_day_of_week_have_a_line_each(cli: Cli) -> None:
    lines = cli.run("translate", "0 9 13 * 5").stdout.splitlines()
    assert sorted(line for line in lines if line.startswith("OnCalendar=")) == [
        f"OnCalendar=*-*-13 09:00:00{UTC}", f"OnCalendar=Fri *-*-* 09:00:00{UTC}"]


def test_the_zone_of_the_job_is_in_the_line(cli: Cli) -> None:
    assert "OnCalendar=*-*-* 09:00:00 Pacific/Chatham" in cli.out("translate", "daily at 9am", "--tz",
                                                                  "Pacific/Chatham").splitlines()


def test_a_one_shot_is_an_instant(cli: Cli) -> None:
    assert any(line.startswith("OnCalendar=2036-03-15 09:00:00")
               for line in cli.out("translate", "2036-03-15T09:00:00").splitlines())


def test_invalid_input_is_refused(cli: Cli) -> None:
    assert "0 0 30 2 *" in cli.refused("translate", "0 0 30 2 *")
    assert "past" in cli.refused("translate", "2020-01-01T00:00")
    assert "Nowhere" in cli.refused("translate", "30m", "--tz", "Nowhere", code=2)
    cli.refused("translate", code=2)


def crontab(cli: Cli, *arguments: str) -> tuple[str, str]:
    """Return the line for a crontab, and its comments."""
    line, *said = cli.out("translate", "--scheduler", "crontab", *arguments).splitlines()
    assert all(each.startswith("# ") for each in said)
    return line, " ".join(said)


def test_an_expression_that_cron_supports_is_printed_unchanged(cli: Cli) -> None:
    line, said = crontab(cli, "0 9 * * 1-5", "--tz", machine_zone().key)
    assert line == "0 9 * * 1-5 hermes-cron-exec PROFILE:JOB_ID" and "Exactly when the job is due" in said


def test_an_expression_that_cron_cannot_express_is_covered_and_explained(cli: Cli) -> None:
    line, said = crontab(cli, "0 9 * * 5#2", "--tz", machine_zone().key)
    assert line.startswith("0 9 */32,8-14 * 5 ")
    assert "starts the runner once on each of its days" in said and "ends at once" in said
    assert "96 times on each of its days" in crontab(cli, "every 45m")[1]


def test_a_one_shot_is_a_crontab_line_that_is_used_once(cli: Cli) -> None:
    line, said = crontab(cli, "2036-03-15T09:00:30Z", "--tz", "UTC")
    assert line.split()[2:5] == ["15", "3", "*"] and "Once" in said


def test_a_surprising_schedule_is_explained_with_a_warning(cli: Cli) -> None:
    for command in ("translate", "next"):
        explained = cli.run(command, "*/50 * * * *")
        assert "WARNING" in explained.stderr and "`every 50m`" in explained.stderr and "WARNING" not in explained.stdout
