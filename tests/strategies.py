"""Random schedules, for hypothesis."""

from hypothesis import strategies as st

from hermes_oscron.schedule import cron

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Casablanca",
         "America/Nuuk", "America/St_Johns", "Pacific/Apia", "Africa/Cairo", "America/Havana", "Asia/Beirut"]


def numbers(field: cron.Field) -> st.SearchStrategy[str]:
    digits = st.integers(field.low, 7 if field is cron.WEEKDAY else field.high).map(str)
    return digits | st.sampled_from(sorted(field.names)).map(str.upper) if field.names else digits


def items(field: cron.Field) -> st.SearchStrategy[str]:
    number, step = numbers(field), st.integers(1, field.high).map(str)
    plain = [number, st.builds("{}-{}".format, number, number), st.builds("{}-{}/{}".format, number, number, step),
             st.builds("*/{}".format, step), st.builds("{}/{}".format, number, step)]
    return st.one_of(plain)


def fields(field: cron.Field, *special: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    lists = st.lists(items(field), min_size=1, max_size=3).map(",".join)
    return st.one_of(st.just("*"), lists, *special)


DAYS = fields(cron.DAY, st.just("L"), st.builds("{},L".format, numbers(cron.DAY)), st.just("?"),
              st.builds("{}W".format, st.integers(1, 31)))
NTH = st.lists(st.builds("{}#{}".format, numbers(cron.WEEKDAY), st.integers(1, 5))
               | st.builds("L{}".format, st.integers(0, 6)), min_size=1, max_size=3).map(",".join)
WEEKDAYS = fields(cron.WEEKDAY, NTH, st.just("?"))


def expressions(days: st.SearchStrategy[str] = DAYS,
                weekdays: st.SearchStrategy[str] = WEEKDAYS) -> st.SearchStrategy[str]:
    """Cron expressions in every form croniter takes."""
    five = st.tuples(fields(cron.MINUTE), fields(cron.HOUR), days, fields(cron.MONTH), weekdays).map(" ".join)
    return five | st.sampled_from(sorted(cron.MACROS))
