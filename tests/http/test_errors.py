"""The words of errors: whole sentences that say what is wrong with this request."""

from tests.http.test_http import NO_KEY, topup
from tests.site import Site


async def test_a_missing_key_is_not_a_wrong_one(site: Site) -> None:
    """Who forgot the header learns how it looks; who sent a wrong key learns that."""
    for headers, words in (
        (NO_KEY, "key is needed: send `Authorization: Bearer"),
        ({"Authorization": "Basic dev-service-key"}, "must be one `Bearer "),
        ({"Authorization": "Bearer wrong"}, "The service key in the Authorization header is wrong."),
    ):
        response = await topup(site, headers=headers)
        assert words in response.json()["error"]["message"], headers


async def test_errors_are_whole_sentences(site: Site) -> None:
    """Each says what is wrong here, in words that end with one full stop."""
    for method, path, words in (
        ("GET", "/v1/nothing", "nothing at this address"),
        ("GET", "/web/nothing.js", "nothing at this address"),
        ("TRACE", "/v1/rooms/demo", "does not take this method"),
        ("TRACE", "/web/liveroom.js", "does not take this method"),
        ("POST", "/v1/rooms/demo/stop", "start, pause, resume, end or suspend."),
        ("GET", "/v1/rooms/%20", "(but not `.` or `..`)."),
        ("POST", "/v1/topups/%20/chargeback", "top-up"),
        ("POST", "/v1/topups/none/chargeback", "top-up"),
    ):
        message = (await site.http.request(method, path, json={})).json()["error"]["message"]
        assert words in message, message
        assert message[0].isupper(), message
        assert message.endswith("."), message
        assert not message.endswith(".."), message
