"""What rooms can do. Each module registers its functions with the rooms. No module imports another."""

import importlib
import pkgutil

from server.store import hooks, scripts

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

hooks.check(scripts.FOLDER)
