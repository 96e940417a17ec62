"""Tests on real stores and real sockets, in the protocol's words."""

import pkgutil

import pytest

# A helper's assert says what it compared, as a test's does.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__)))
