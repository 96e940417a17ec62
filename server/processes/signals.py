"""The signals that an operator's tools send: each ends in an orderly stop, or in nothing at all."""

import signal

_NOTHING = (signal.SIGUSR1, signal.SIGUSR2)  # there is nothing to reload, and no log file to open again


def that_stop() -> list[signal.Signals]:
    """The signals that ask for an end; the rest is ignored. So is SIGHUP where nohup has switched it off."""
    for each in _NOTHING:
        signal.signal(each, signal.SIG_IGN)
    asking = [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP]
    return [each for each in asking if signal.getsignal(each) is not signal.SIG_IGN]
