"""What events change of a room, feature by feature, for the Python client. A module is found here by being there."""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
