"""The signals that an operator's tools send: each ends in an orderly stop, or in nothing at all."""

import os
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


def end_at_once() -> None:
    """Until the process sets its own handlers, a signal that asks for an end gets it: there is nothing to finish yet.

    The process may import modules then, or wait for a database that does not answer.
    """
    for each in that_stop():
        signal.signal(each, lambda _number, _frame: end(0))


def end(code: int) -> None:
    """End this process now. Its threads may wait for a database, and Python would wait for them."""
    os._exit(code)
