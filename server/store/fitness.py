"""Says in one sentence why a store that answers cannot be used."""

from collections.abc import Mapping

from server import limits

FOREIGN = "what answers there is not a Redis or Valkey, or it wants TLS (rediss://)"
SILENT = "it closes the connection without an answer"
OLDEST = 7  # the first version with everything that the scripts use


def refused(text: str) -> str | None:
    """Why a store that refuses a command will refuse it again, or None when it may accept it later."""
    text = text[: limits.LOGGED_CHARS_MAX]
    match text.split(" ", 1)[0]:
        case "WRONGPASS" | "NOAUTH":
            return f"it refuses our user or password ({text})"
        case "NOPERM":
            return text
        case "DENIED":
            return f"it is in protected mode and has no password ({text})"
    if text.startswith("ERR unknown command") and "HELLO" in text:
        return f"it is older than version 6; {OLDEST}.0 or later is needed"
    return f"it has no such database ({text})" if text.startswith("ERR DB index is out of range") else None


def unfit(about: Mapping[str, str]) -> str | None:
    """Why a store that says this in INFO cannot be used, or None."""
    if about.get("redis_mode", "").strip() == "sentinel":
        return "it is a Sentinel, which stores nothing; name the store that it watches"
    version = (about.get("valkey_version") or about.get("redis_version") or "0").strip()
    major = version.split(".")[0]
    if not major.isdecimal() or int(major) < OLDEST:
        return f"it is version {version}; {OLDEST}.0 or later is needed"
    return None
