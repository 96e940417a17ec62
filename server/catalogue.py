"""The gift catalogue: from the program's file, or from the one that LIVEROOM_CATALOGUE names."""

from pathlib import Path

import msgspec

from protocol.gifts import Gift
from server.settings import Unusable

OWN = Path(__file__).parent / "catalogue.json"


def load(path: Path | None) -> dict[str, Gift]:
    """Gifts by id, in the file's order. Raises Unusable."""
    try:
        gifts = msgspec.json.decode((path or OWN).read_bytes(), type=list[Gift])
    except OSError as error:  # its text would say the path again
        raise Unusable(f"The gift catalogue {path or OWN} cannot be used: {error.strerror}.") from None
    except msgspec.DecodeError as error:
        raise Unusable(f"The gift catalogue {path or OWN} cannot be used: {error}.") from None
    catalogue = {gift.id: gift for gift in gifts}
    if len(catalogue) != len(gifts):
        raise Unusable(f"The gift catalogue {path or OWN} names a gift twice.")
    return catalogue
