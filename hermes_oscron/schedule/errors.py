"""The one way in which a schedule is refused."""


class ScheduleError(ValueError):
    """A schedule that cannot be kept; its text is a sentence for the person who wrote it."""
