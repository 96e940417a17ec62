"""Where the suite does not say OK, and why that is right. A case that is fine has no place here."""

FAIL_FAST = (
    "bad UTF-8 is refused with 1007 once its message is whole, and not at its first bad frame or byte. RFC 6455 (8.1) "
    "asks for no more, and a message has 16 KiB at most"
)

ARGUED = dict.fromkeys(("6.4.1", "6.4.2", "6.4.3", "6.4.4"), FAIL_FAST)
