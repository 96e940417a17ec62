"""The part of JSON Schema that our documents use: does a value fit, and values that do or do not."""

import random
import re
from collections.abc import Iterator
from typing import Any

KNOWN = {
    *("$ref", "title", "description", "type", "enum", "anyOf", "default", "properties", "required", "items"),
    *("additionalProperties", "pattern", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems"),
    *("prefixItems", "exclusiveMinimum", "propertyNames"),
}
KINDS: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**53,
    1.5,
    "",
    "x" * 5_000,
    "\x00",
    "é\u202e",
    "a b",
    [],
    [[]],
    {},
    {"a": 1},
)


class Schemas:
    """The schemas of one OpenAPI document, and a source of chance."""

    def __init__(self, document: dict[str, Any], seed: int) -> None:
        self._components = document["components"]["schemas"]
        self._random = random.Random(seed)

    def _plain(self, schema: dict[str, Any]) -> dict[str, Any]:
        assert set(schema) <= KNOWN, set(schema) - KNOWN
        if "$ref" in schema:
            return self._plain(self._components[schema["$ref"].rpartition("/")[2]])
        return schema

    def faults(self, value: Any, schema: dict[str, Any], at: str = "$") -> Iterator[str]:
        """What is wrong with a value, if anything."""
        schema = self._plain(schema)
        if "anyOf" in schema:
            if all(any(self.faults(value, each, at)) for each in schema["anyOf"]):
                yield f"{at}: {value!r} is none of the types"
            return
        if "enum" in schema and value not in schema["enum"]:
            yield f"{at}: {value!r} is not in {schema['enum']}"
        kind = schema.get("type")
        if kind is not None and (not isinstance(value, KINDS[kind]) or (kind != "boolean" and isinstance(value, bool))):
            yield f"{at}: {value!r} is no {kind}"
        elif kind == "object":
            yield from self._object_faults(value, schema, at)
        elif kind == "array":
            for number, each in enumerate(value):
                yield from self.faults(each, schema.get("items", {}), f"{at}[{number}]")
        elif kind == "string" and not re.search(schema.get("pattern", ""), value):
            yield f"{at}: {value!r} does not match {schema['pattern']}"

    def _object_faults(self, value: dict[str, Any], schema: dict[str, Any], at: str) -> Iterator[str]:
        yield from (f"{at}: {name} is missing" for name in schema.get("required", ()) if name not in value)
        more, properties = schema.get("additionalProperties", True), schema.get("properties", {})
        for name, each in value.items():
            if name in properties:
                yield from self.faults(each, properties[name], f"{at}.{name}")
            elif isinstance(more, dict):
                yield from self.faults(each, more, f"{at}.{name}")
            elif not more or properties:  # what is listed is all: an answer has no field that is not described
                yield f"{at}: {name} is not described"

    def fitting(self, schema: dict[str, Any]) -> Any:
        """A value that fits."""
        schema = self._plain(schema)
        if "anyOf" in schema:
            return self.fitting(self._random.choice(schema["anyOf"]))
        if "enum" in schema:
            return self._random.choice(schema["enum"])
        match schema.get("type"):
            case "object":
                required, properties = schema.get("required", ()), schema.get("properties", {})
                chosen = (name for name in properties if name in required or self._random.random() < 0.5)
                return {name: self.fitting(properties[name]) for name in chosen}
            case "array":
                least = schema.get("minItems", 0)
                return [self.fitting(schema["items"]) for _ in range(self._random.randrange(least, least + 3))]
            case "string":
                return self._text(schema)
            case "integer" | "number":
                least, most = schema.get("minimum", -(2**31)), schema.get("maximum", 2**31)
                return self._random.choice((least, most, self._random.randint(least, most)))
            case "boolean":
                return self._random.random() < 0.5
            case _:
                return None

    def _text(self, schema: dict[str, Any]) -> str:
        pattern = schema.get("pattern", "")
        if "7[0-9a-f]{3}" in pattern:
            digits = f"{self._random.getrandbits(128):032x}"
            return f"{digits[:8]}-{digits[8:12]}-7{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"
        if pattern.startswith("^#?"):
            return self._random.choice(("jazz", "#live"))
        if "[a-z0-9_-]{0,32}" in pattern:
            return self._random.choice(("", "music", "just_chatting"))
        if "[a-z]{2,3}(-" in pattern:
            return self._random.choice(("", "en", "pt-BR"))
        if "[A-Z]{3}" in pattern:
            return self._random.choice(("EUR", "JPY"))
        if "[A-Z]{2}" in pattern:
            return self._random.choice(("DE", "US"))
        if "chat" in pattern:
            return "chat.sent,gifts.sent"
        if pattern.startswith(("^[0-9]{4}-", "^([0-9]{4}-")):  # a day, or an entry
            return (
                f"20{self._random.randrange(10, 99)}-{self._random.randrange(10, 13)}-{self._random.randrange(10, 31)}"
            )
        if "{1,2}:[0-9]" in pattern:
            return f"{self._random.randrange(10**12)}:7:1-{self._random.randrange(100)}"
        if "}:[0-9]{1,15}" in pattern:
            return f"{self._random.getrandbits(40):x}:{self._random.getrandbits(40)}"
        if "}:[0-9a-f-]" in pattern:
            return f"{self._random.getrandbits(40)}:0a-{self._random.getrandbits(40):x}"
        if ":)?" in pattern:
            return self._random.choice(("demo", "7:demo", "0:x"))
        if "-[0-9]" in pattern:
            return f"{self._random.randrange(99)}-{self._random.randrange(99)}"
        if "https://" in pattern:
            return self._random.choice(("/a.png", "https://example.org/a.png"))
        if "[a-z_]" in pattern:
            return self._random.choice(("blocked", "spam", "x_y"))
        length = self._random.randint(max(1, schema.get("minLength", 1)), min(64, schema.get("maxLength", 64)))
        text = "".join(self._random.choice("abcXYZ0189") for _ in range(length))
        assert re.search(pattern, text), pattern
        return text

    def odd(self, schema: dict[str, Any]) -> Any:
        """A value that hardly fits: another one, or one with a part that is missing, odd or too much."""
        value = self.fitting(schema)
        if not isinstance(value, dict) or self._random.random() < 0.2:
            return self._random.choice(ODD)
        names = list(value)
        match self._random.randrange(3):
            case 0:
                value["of_no_meaning"] = self._random.choice(ODD)
            case 1 if names:
                del value[self._random.choice(names)]
            case _ if names:
                value[self._random.choice(names)] = self._random.choice(ODD)
        return value
