"""`python -m loadtest`: runs the command line, or says which package is missing."""

import importlib.util
import sys

OURS = ("loadtest", "protocol")
LATER = ("matplotlib", "numpy")  # imported when plots are drawn: a run must not end with their absence

INSTALL = """\
loadtest: the Python module {name!r} is missing. In a checkout, `make check` installs what the load test needs.
Without make: python -m pip install -r requirements-dev.lock"""


def main() -> int:
    """Returns the exit status: 2 if a package is missing."""
    missing = next((name for name in LATER if importlib.util.find_spec(name) is None), None)
    if missing is None:
        try:
            from loadtest import command_line  # noqa: PLC0415  # it imports what may be missing
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if not missing or missing in OURS:
                raise
        else:
            return command_line.main()
    print(INSTALL.format(name=missing), file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
