"""When something that recurs comes next. Moments are microseconds since 1970 in UTC."""

from __future__ import annotations

import datetime

from cronsim import CronSim, CronSimError
from django.utils import timezone

from lightmoon_django.errors import UsageError

SECOND = 1_000_000  # microseconds
MICROSECOND = datetime.timedelta(microseconds=1)
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def moment(when: datetime.datetime) -> int:
    """An aware datetime as a moment."""
    return (when - EPOCH) // MICROSECOND


def following(due: int, after: int, *, period: int, cron: str) -> int:
    """The first moment on the grid of `due` that is later than both `due` and `after`.

    `period` is in microseconds. A `cron` line is read in the project's `TIME_ZONE`, with Debian's rules for the hours
    that daylight saving skips or repeats.
    """
    if cron:
        return _cron_following(max(due, after), cron)
    return due + period * (max(0, after - due) // period + 1)


def _cron_following(after: int, line: str) -> int:
    start = EPOCH + datetime.timedelta(microseconds=after)
    return moment(next(CronSim(line, start.astimezone(timezone.get_default_timezone()))))


def check_cron(line: str, now: int) -> int:
    """The first moment after `now` that the line names. Raises `UsageError` for a line that names none."""
    try:
        return _cron_following(now, line)
    except (CronSimError, AttributeError) as error:
        reason = str(error)
    except (StopIteration, OverflowError):
        reason = "no day is ever like that"
    raise UsageError(
        f"{line!r} is not a crontab line: {reason}. It has five fields (minute, hour, day of month, month, day of "
        'week) as "30 4 * * 1-5", or six with seconds in front.'
    )
