"""A clock that nobody can set while the studio runs: the wall's time at its start, and what has passed since.

By it things are stamped and grow old, so that a clock that is set, or wrong for an hour, deletes nothing.
"""

import time


class SteadyClock:
    """Seconds since the epoch, as they were known at the start, going on evenly; a machine's sleep counts."""

    def __init__(self) -> None:
        self._at_start_s, self._began_s = time.time(), _passed_s()

    def now_s(self) -> float:
        """Now."""
        return self._at_start_s + _passed_s() - self._began_s

    def before_s(self, age_s: float) -> float:
        """What is stamped earlier than this is older than `age_s`, whichever clock stamped it.

        Where the wall's clock was set back since, its word counts: it was ahead at the start.
        """
        return min(self.now_s(), time.time()) - age_s


def _passed_s() -> float:
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)
