"""The signals that an operator's tools send: each ends in an orderly stop, or in nothing at all."""

import signal

_NOTHING = (signal.SIGUSR1, signal.SIGUSR2)  # there is nothing to reload, and no log file to open again


def that_stop() -> list[signal.Signals]:
    """The signals that ask for an end; the rest is ignored. So is SIGHUP where nohup has switched it off.

    The others end us even where they are ignored, as in a background job of a shell: nobody else handles them here.
    """
    for each in _NOTHING:
        signal.signal(each, signal.SIG_IGN)
    asking = [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT]
    return asking if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [*asking, signal.SIGHUP]
