"""Tokens: a signed token gives its claims back, and everything else is refused."""

import base64
import hmac
import json
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import limits
from server.tokens import BadToken, Claims, Facts, Tokens

SECRET = "a-secret-that-is-long-enough-for-each-of-the-HMAC-algorithms-of-the-RFC"
OPTIONAL = {
    name: st.sampled_from([good, "", 5, None, [good]])
    for name, good in {"sub": "alice", "name": "Al", "role": "host", "exp": 1.9e9, "room": "demo", "nbf": 1}.items()
}
NOW_S = 1_800_000_000.0
TOKENS = Tokens(SECRET)


def claims(**changed: Any) -> dict[str, Any]:
    """Good claims with these changes; None leaves one out."""
    made = {"sub": "alice", "name": "Alice", "role": "viewer", "exp": int(NOW_S) + 60, **changed}
    return {name: value for name, value in made.items() if value is not None}


def signed(payload: dict[str, Any], *, secret: str = SECRET, algorithm: str = "HS256", **headers: Any) -> str:
    return jwt.encode(payload, secret, algorithm=algorithm, headers=headers or None)


@pytest.mark.parametrize("role", ["viewer", "moderator", "host", "overlay", "bot"])
@pytest.mark.parametrize("room", [None, "demo"])
def test_what_is_signed_comes_back(role: Any, room: str | None) -> None:
    """A signed token gives back its claims."""
    token = TOKENS.sign(sub="alice", name="Älice ✓", role=role, exp_s=NOW_S + 60, room=room)
    assert TOKENS.check(token, NOW_S) == Claims(sub="alice", name="Älice ✓", role=role, exp=NOW_S + 60, room=room)


def test_facts_and_badges_come_back() -> None:
    """What the platform says of somebody is theirs until the token expires; unknown facts are passed over."""
    facts = Facts(follower_since_ms=5, region="DE", adult=True, level=12)
    token = TOKENS.sign(
        sub="alice", name="Alice", role="viewer", exp_s=NOW_S + 60, facts=facts, badges=["club:3"], iat_s=NOW_S
    )
    found = TOKENS.check(token, NOW_S)
    assert (found.facts, found.badges) == (facts, ("club:3",))
    assert TOKENS.check(signed(claims(facts={"height_m": 2})), NOW_S).facts == Facts()


@pytest.mark.parametrize(
    "wrong",
    [
        {"facts": 5},
        {"facts": {"region": "Germany"}},
        {"facts": {"follower_since_ms": -1}},
        {"facts": {"level": 2**60}},
        {"badges": "host"},
        {"badges": ["x"] * (limits.BADGES_MAX + 1)},
        {"badges": ["x" * (limits.BADGE_CHARS_MAX + 1)]},
    ],
)
def test_facts_that_are_not_valid(wrong: dict[str, Any]) -> None:
    """A token with facts that no rule could read is refused, so that no rule is passed over."""
    with pytest.raises(BadToken):
        TOKENS.check(signed(claims(**wrong)), NOW_S)


@pytest.mark.parametrize(("name", "seen"), [("\u202eEve\u0000", "Eve"), ("\u200b\u3164", "alice"), (" ", "alice")])
def test_a_name_is_what_others_see(name: str, seen: str) -> None:
    """The platform may sign any name; one without anything to see becomes the user id."""
    assert TOKENS.check(signed(claims(name=name)), NOW_S).name == seen


def test_a_token_ends_with_its_second() -> None:
    """It is valid before `exp`, and no longer from `exp` on."""
    token = signed(claims(exp=NOW_S + 10))
    assert TOKENS.check(token, NOW_S + 9.99)
    for late_s in (10, 10.01, 1e6):
        with pytest.raises(BadToken, match="expired"):
            TOKENS.check(token, NOW_S + late_s)


def test_a_sender_may_say_more() -> None:
    """Unknown claims, an issue time ahead of our clock and an audience are accepted."""
    token = signed(claims(iat=NOW_S + 500, aud="somebody", iss="platform", locale="de"))
    assert TOKENS.check(token, NOW_S).sub == "alice"


@pytest.mark.parametrize(
    "changed",
    [
        {"sub": None},
        {"sub": ""},
        {"sub": "a b"},
        {"sub": "alice\n"},
        {"sub": "a" * 65},
        {"sub": 5},
        {"sub": "anonymous"},
        {"sub": ["alice"]},
        {"name": None},
        {"name": ""},
        {"name": "x" * 41},
        {"name": 5},
        {"role": None},
        {"role": "admin"},
        {"role": "Viewer"},
        {"role": ["host"]},
        {"exp": None},
        {"exp": "soon"},
        {"exp": str(int(NOW_S) + 60)},
        {"exp": True},
        {"exp": 0},
        {"exp": -1},
        {"exp": float("nan")},
        {"exp": [NOW_S + 60]},
        {"room": ""},
        {"room": "a/b"},
        {"room": 5},
        {"nbf": 4_000_000_000},
    ],
    ids=repr,
)
def test_claims_of_a_wrong_shape(changed: dict[str, Any]) -> None:
    """A correctly signed token with wrong claims is not valid."""
    with pytest.raises(BadToken, match="not valid"):
        TOKENS.check(signed(claims(**changed)), NOW_S)


def unsigned(algorithm: str) -> str:
    """A token that names a way of signing but has no signature."""
    head, body = ({"alg": algorithm, "typ": "JWT"}, claims())
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (head, body)]
    return ".".join([*parts, ""])


FORGED = {
    "another secret": signed(claims(), secret="another-secret-of-more-than-thirty-two"),
    "HS384 with our secret": signed(claims(), algorithm="HS384"),
    "HS512 with our secret": signed(claims(), algorithm="HS512"),
    "alg none": unsigned("none"),
    "alg None": unsigned("None"),
    "HS256 without a signature": unsigned("HS256"),
    "RS256 without a signature": unsigned("RS256"),
    "empty": "",
    "words": "not a token",
    "dots": "..",
    "two parts": ".".join(signed(claims()).split(".")[:2]),
    "four parts": signed(claims()) + ".x",
    "cut off": signed(claims())[:-4],
    "an array for claims": jwt.api_jws.encode(b"[1]", SECRET, algorithm="HS256"),
    "no JSON for claims": jwt.api_jws.encode(b"{", SECRET, algorithm="HS256"),
    "deep claims": jwt.api_jws.encode(b"[" * 2_500, SECRET, algorithm="HS256"),
    "not ASCII": "é.é.é",
    "a NUL": "\x00",
}


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED)
def test_what_we_did_not_sign(token: str) -> None:
    """Any other signature, algorithm or text is not valid."""
    with pytest.raises(BadToken):
        TOKENS.check(token, NOW_S)


def test_other_claims_under_our_signature() -> None:
    """A payload that was changed after signing is not valid."""
    head, _, signature = signed(claims()).split(".")
    _, payload, _ = signed(claims(role="host")).split(".")
    with pytest.raises(BadToken):
        TOKENS.check(f"{head}.{payload}.{signature}", NOW_S)


def theirs(token: str) -> dict[str, Any] | None:
    """What PyJWT says of a token: its claims, or None."""
    options = {"require": ["exp", "sub"], **dict.fromkeys(("verify_exp", "verify_aud", "verify_iat"), False)}
    try:
        return jwt.decode(token, SECRET, algorithms=["HS256"], options=options)
    except (jwt.InvalidTokenError, ValueError):
        return None


def sealed(head: Any, body: Any) -> str:
    """A token with any header and payload, signed with our secret."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (head, body)]
    mac = hmac.digest(SECRET.encode(), ".".join(parts).encode(), "sha256")
    return ".".join([*parts, base64.urlsafe_b64encode(mac).rstrip(b"=").decode()])


HEADERS = st.fixed_dictionaries(
    {"alg": st.sampled_from(["HS256", "HS256", "none", "HS512", 5])},
    optional={"typ": st.sampled_from(["JWT", "x"]), "kid": st.just("k"), "crit": st.sampled_from([[], ["exp"], "exp"])},
)
CHANGES = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 1), st.sampled_from(["", "A", ".", "=", "é", " "])))


@given(HEADERS, st.fixed_dictionaries({}, optional=OPTIONAL), st.one_of(st.just([]), CHANGES))
def test_we_accept_nothing_that_pyjwt_refuses(head: Any, body: Any, changes: list[tuple[int, int, str]]) -> None:
    """Tokens of any shape, changed after signing or not: what we accept PyJWT accepts, with the same claims."""
    token = sealed(head, body)
    for at, cut, put in changes:
        token = token[:at] + put + token[at + cut :]
    try:
        ours = TOKENS.check(token, NOW_S)
    except BadToken:
        return
    said = theirs(token)
    assert said is not None
    assert (ours.sub, ours.role, ours.exp, ours.room) == (said["sub"], said["role"], said["exp"], said.get("room"))


@pytest.mark.parametrize("headers", [{}, {"kid": "2026-01"}, {"typ": "at+jwt"}, {"cty": "x", "x5t": "y"}], ids=repr)
def test_other_headers_change_nothing(headers: dict[str, str]) -> None:
    """An issuer may name its key and its type."""
    assert TOKENS.check(signed(claims(), **headers), NOW_S).sub == "alice"


def test_an_extension_that_must_be_understood() -> None:
    """We understand none."""
    for head in ({"crit": ["b64"], "b64": False}, {"crit": ["exp"]}, {"crit": None}):
        with pytest.raises(BadToken):
            TOKENS.check(sealed({"alg": "HS256", **head}, claims()), NOW_S)


def test_a_token_has_a_bound() -> None:
    """A long token is refused unread, even a good one."""
    good = signed(claims(note="x" * 1_000))
    assert TOKENS.check(good, NOW_S)
    long = signed(claims(note="x" * limits.TOKEN_BYTES_MAX))
    with pytest.raises(BadToken, match="too long"):
        TOKENS.check(long, NOW_S)


@given(
    st.text(max_size=60)
    | st.from_regex(r"[A-Za-z0-9_-]{0,20}\.[A-Za-z0-9_-]{0,20}\.[A-Za-z0-9_-]{0,20}", fullmatch=True)
)
def test_any_text(token: str) -> None:
    """Any text is refused as BadToken, and by no other exception."""
    with pytest.raises(BadToken):
        TOKENS.check(token, NOW_S)
