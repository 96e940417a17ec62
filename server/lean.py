"""Imported before everything else: leaves out what nodes and the journal never use, and would hold in memory.

structlog imports rich, if it is there, for tracebacks that our log does not show: 4 MiB, with what rich imports.
"""

import sys

if sys.argv[1:2] in (["node"], ["journal"]):
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]  # an import of it fails now (docs: sys.modules)
