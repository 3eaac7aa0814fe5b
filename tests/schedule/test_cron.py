"""Cron expressions: they are accepted, and mean the same, as in croniter, by which the agent fires."""

import datetime
from collections.abc import Callable

import pytest
from croniter import CroniterError, croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_oscron.schedule import cron
from hermes_oscron.schedule.model import ScheduleError
from tests import strategies

A_YEAR = [datetime.date(2028, 1, 1) + datetime.timedelta(days=n) for n in range(366)]


def accepted(expression: str) -> bool:
    try:
        cron.parse(expression)
    except ScheduleError:
        return False
    return True


def croniter_accepts(expression: str) -> bool:
    try:
        croniter.expand(expression)
    except CroniterError:
        return False
    return True


def is_last(day: datetime.date) -> bool:
    return (day + datetime.timedelta(days=1)).day == 1


def is_nth(day: datetime.date, which: int | str) -> bool:
    if which == "l":
        return (day + datetime.timedelta(days=7)).month != day.month
    return (day.day + 6) // 7 == which


def croniter_days(expression: str) -> Callable[[datetime.date], bool]:
    """The days of `expression` by croniter.expand, day-of-month and day-of-week both given meaning either."""
    (_, _, of_month, _, of_week), nth = croniter.expand(expression)

    def in_month(day: datetime.date) -> bool:
        return "*" in of_month or day.day in of_month or ("l" in of_month and is_last(day))

    def in_week(day: datetime.date) -> bool:
        weekday = day.isoweekday() % 7
        if nth:
            return any(is_nth(day, which) for which in nth.get(weekday, ()))
        return "*" in of_week or weekday in of_week

    both_given = "*" not in of_month and (nth or "*" not in of_week)
    if both_given:
        return lambda day: in_month(day) or in_week(day)
    return lambda day: in_month(day) and in_week(day)


def soup(field: cron.Field) -> st.SearchStrategy[str]:
    """Items that may or may not be right: numbers out of bounds, letters out of place, halves of forms."""
    number = strategies.numbers(field)
    too_much = st.integers(0, 70).map(str)
    wrong = st.sampled_from(["", "*", "?", "L", "-1", "1-", "/2", "*/0", "*/x", "x", "#", "1#", "#2", "1#6", "L9", "LW",
                             "W", "1.5", "+1", "1-2-3", "1/2/3", "mon", "jan", "feb-11", "sunday"])
    special = [st.builds("{}#{}".format, number, too_much), st.builds("L{}".format, number),
               st.builds("{}L".format, number), st.builds("{}W".format, too_much)]
    item = st.one_of(strategies.items(field), number, too_much, wrong, *special)
    return st.just("*") | st.lists(item, min_size=1, max_size=2).map(",".join)


SOUP = st.tuples(*map(soup, cron.FIELDS)).map(" ".join)


def mixes_weekdays(expression: str) -> bool:
    items = expression.lower().split(" ")[4].split(",")
    numbered = ["#" in item or (item.startswith("l") and item != "l") for item in items]
    return any(numbered) and not all(numbered)


@settings(max_examples=1000, deadline=None)
@given(strategies.expressions())
def test_expressions_that_croniter_accepts_are_accepted(expression: str) -> None:
    assert accepted(expression) == croniter_accepts(expression)


@settings(max_examples=1500, deadline=None)
@given(SOUP.filter(lambda expression: not mixes_weekdays(expression)))
def test_expressions_that_croniter_refuses_are_refused(expression: str) -> None:
    assert accepted(expression) == croniter_accepts(expression)


@settings(max_examples=1000, deadline=None)
@given(strategies.expressions(days=strategies.fields(cron.DAY, st.just("L"), st.just("?"))))
def test_an_expression_has_the_occurrences_of_croniter(expression: str) -> None:
    if not croniter_accepts(expression):
        return
    ours = cron.parse(expression)
    expanded, _ = croniter.expand(expression)
    for field, numbers, theirs in [(cron.MINUTE, ours.minutes, expanded[0]), (cron.HOUR, ours.hours, expanded[1]),
                                   (cron.MONTH, ours.months, expanded[3])]:
        assert numbers == (field.whole if "*" in theirs else set(theirs)), field.name
    theirs_match = croniter_days(expression)
    assert [day for day in A_YEAR if ours.days.match(day)] == [day for day in A_YEAR if theirs_match(day)]


@pytest.mark.parametrize("days", [
    "1-31 * */2", "1-31 * 1", "1-31 * *", "*/2 * 0-6", "*/2 * 1", "*/1 * 1", "* * */2", "*,5 * 1", "1-31/2 * */2",
    "L * 1-7", "13 * *,5", "31-30 * */3", "2-2 * */3", "15 * 0-6", "? * */2", "13 * ?", "L,13 * 5",
])
def test_a_list_of_all_days_is_a_star_as_in_croniter(days: str) -> None:
    ours, theirs = cron.parse(f"0 0 {days}").days, croniter_days(f"0 0 {days}")
    assert [day for day in A_YEAR if ours.match(day)] == [day for day in A_YEAR if theirs(day)]


@pytest.mark.parametrize("target", range(1, 32))
def test_w_is_the_weekday_nearest_in_the_month_as_in_croniter(target: int) -> None:
    ours = cron.parse(f"0 0 {target}W * *").days
    theirs = croniter(f"0 0 {target}W * *", datetime.datetime(2026, 12, 31), ret_type=datetime.datetime)
    due = [theirs.get_next().date() for _ in range(48)]
    day, matched = datetime.date(2027, 1, 1), []
    while len(matched) < 48:
        matched += [day] if ours.match(day) else []
        day += datetime.timedelta(days=1)
    assert matched == due
    assert cron.parse(f"0 0 W{target} * *").days == ours


@settings(max_examples=1000, deadline=None)
@given(strategies.expressions())
def test_the_canonical_form_means_the_same(expression: str) -> None:
    if not accepted(expression):
        return
    canonical = cron.canonical(expression)
    before, after = cron.parse(expression), cron.parse(canonical)
    assert after._replace(days=before.days) == before
    assert [day for day in A_YEAR if after.days.match(day)] == [day for day in A_YEAR if before.days.match(day)]
    assert cron.canonical(canonical) == canonical
    assert croniter_accepts(canonical)


@settings(max_examples=300, deadline=None)
@given(strategies.expressions(), st.sampled_from([str.upper, str.lower, str.title]), st.sampled_from([" ", "\t", "  "]))
def test_case_and_whitespace_do_not_matter(expression: str, recase: Callable[[str], str], gap: str) -> None:
    if not accepted(expression):
        return
    assert cron.parse(gap + recase(expression).replace(" ", gap) + gap) == cron.parse(expression)


@pytest.mark.parametrize(("expression", "canonical"), [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@DAILY", "0 0 * * *"),
    ("0 9 * * MON-FRI", "0 9 * * 1-5"),
    ("0 9 * * mon-wed,Fri", "0 9 * * 1-3,5"),
    ("0 9 1 JAN,jul *", "0 9 1 1,7 *"),
    ("0 9 * * 7", "0 9 * * 0"),
    ("0 9 * * 6,7", "0 9 * * 0,6"),
    ("0 9 * * fri-sun", "0 9 * * 5-7"),
    ("0 9 * * 5-7", "0 9 * * 5-7"),
    ("00 09 * * 01", "0 9 * * 1"),
    ("0 9 ? * 5#2", "0 9 * * 5#2"),
    ("0 9 * * fri#2", "0 9 * * 5#2"),
    ("0 9 * * mon-wed#2", "0 9 * * 1#2,2#2,3#2"),
    ("0 9 l * *", "0 9 L * *"),
    ("0 9 * * l5", "0 9 * * L5"),
    ("0 9 15w * *", "0 9 15W * *"),
    ("  0  9 * * *  ", "0 9 * * *"),
])
def test_macros_and_names_become_numbers(expression: str, canonical: str) -> None:
    assert cron.canonical(expression) == canonical
    assert cron.parse(canonical) == cron.parse(expression)


@pytest.mark.parametrize(("expression", "weekdays"), [
    ("0 0 * * 7", {0}),
    ("0 0 * * 0", {0}),
    ("0 0 * * 5-7", {5, 6, 0}),
    ("0 0 * * SAT-MON", {6, 0, 1}),
    ("0 0 * * 6-1", {6, 0, 1}),
    ("0 0 * * 2/2", {2, 4, 6}),
    ("0 0 * * MON-FRI/2", {1, 3, 5}),
])
def test_weekdays_wrap_around_and_7_is_sunday(expression: str, weekdays: set[int]) -> None:
    assert cron.parse(expression).days.weekdays == weekdays


def test_ranges_that_fall_wrap_around() -> None:
    assert cron.parse("0 22-2 * * *").hours == {22, 23, 0, 1, 2}
    assert cron.parse("50-10/10 * * * *").minutes == {50, 0, 10}
    assert cron.parse("0 0 * NOV-FEB *").months == {11, 12, 1, 2}
    assert cron.parse("0 0 30-2 * *").days.of_month == {30, 31, 1, 2}


def test_day_of_month_and_day_of_week_both_given_mean_either() -> None:
    days = cron.parse("0 0 13 * 5").days
    assert days.match(datetime.date(2027, 1, 13))
    assert days.match(datetime.date(2027, 1, 15))
    assert not days.match(datetime.date(2027, 1, 14))


@pytest.mark.parametrize("expression", ["* 9 * * *", "0 * * * *", "*/5 9 * * *", "0 */2 * * *", "@hourly"])
def test_a_star_in_minute_or_hour_runs_by_elapsed_time(expression: str) -> None:
    assert cron.parse(expression).by_elapsed_time


@pytest.mark.parametrize("expression", ["0 9 * * *", "0-59 0-23 * * *", "0,30 1-3 * * *", "@daily", "5/10 2 * * *"])
def test_a_fixed_hour_and_minute_keeps_its_wall_clock_time(expression: str) -> None:
    assert not cron.parse(expression).by_elapsed_time


@pytest.mark.parametrize(("expression", "field"), [
    ("60 * * * *", "minute"),
    ("-1 * * * *", "minute"),
    ("* 24 * * *", "hour"),
    ("* 1-24 * * *", "hour"),
    ("* * 0 * *", "day-of-month"),
    ("* * 32 * *", "day-of-month"),
    ("* * 32W * *", "day-of-month"),
    ("* * 1,15W * *", "day-of-month"),
    ("* * mon * *", "day-of-month"),
    ("* * * 13 *", "month"),
    ("* * * 0 *", "month"),
    ("* * * mai *", "month"),
    ("* * * * 8", "day-of-week"),
    ("* * * * jan", "day-of-week"),
    ("* * * * 5#6", "day-of-week"),
    ("* * * * 5#0", "day-of-week"),
    ("* * * * L8", "day-of-week"),
    ("* * * * L", "day-of-week"),
    ("*/0 * * * *", "minute"),
    ("*/x * * * *", "minute"),
    ("* 1/ * * *", "hour"),
    ("* 1,,2 * * *", "hour"),
    ("? * * * *", "minute"),
    ("* * * ? *", "month"),
    ("\u0661 * * * *", "minute"),
    ("99999999999999999999 * * * *", "minute"),
])
def test_an_error_names_the_field_that_is_wrong(expression: str, field: str) -> None:
    assert not croniter_accepts(expression)
    with pytest.raises(ScheduleError, match=f"^Bad {field}: "):
        cron.parse(expression)


@pytest.mark.parametrize("item", ["1,5#2", "0-6,5#2", "*,5#2", "0,1,2,3,4,5,6,5#2", "L5,1", "mon,fri#1"])
def test_weekdays_of_every_week_are_not_mixed_with_numbered_ones(item: str) -> None:
    with pytest.raises(ScheduleError, match=r"^Bad day-of-week: .*mixes.*two jobs"):
        cron.parse(f"0 0 * * {item}")


@pytest.mark.parametrize(("expression", "field"), [
    ("H * * * *", "minute"), ("0 H(0-5) * * *", "hour"), ("0 0 H/2 * *", "day-of-month"), ("R * * * *", "minute"),
    ("0 0 * * R", "day-of-week"),
])
def test_random_times_are_refused(expression: str, field: str) -> None:
    with pytest.raises(ScheduleError, match=f"^Bad {field}: .*a program chooses"):
        cron.parse(expression)


@pytest.mark.parametrize("field", ["?,L", "L,?", "1,?", "?/2", "?-5"])
def test_a_question_mark_stands_alone(field: str) -> None:
    assert not croniter_accepts(f"0 0 {field} * *")
    with pytest.raises(ScheduleError, match=r"^Bad day-of-month: "):
        cron.parse(f"0 0 {field} * *")


@pytest.mark.parametrize("expression", ["", "*", "* * * *", "* * * * * *", "* * * * * * *"])
def test_there_are_five_fields(expression: str) -> None:
    with pytest.raises(ScheduleError, match=f"five fields .*{len(expression.split())}"):
        cron.parse(expression)


@pytest.mark.parametrize("macro", ["@", "@reboot", "@every 5m", "@dailyy"])
def test_an_unknown_macro_is_refused_with_the_known_ones(macro: str) -> None:
    with pytest.raises(ScheduleError, match=f"'{macro}'.*@hourly.*@daily"):
        cron.parse(macro)


@pytest.mark.parametrize("expression", ["0 9 2 * 0-6", "0 9 2 * */1", "0 9 1-31 * 3", "0 9 */1 * 3"])
def test_a_list_of_all_days_beside_the_other_field_is_every_day(expression: str) -> None:
    """BusyBox's crond takes such a list for a star, and would start the job on the days of the other field only."""
    assert cron.parse(expression).days == cron.Days(every=True)
