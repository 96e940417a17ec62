"""A payment service on a real port, which fails as payment services do: on command, and after it has acted or before.

`faults` has one word for each coming request (`ok` when it is used up):
  ok            answers and does it
  slow          does it, and answers only after the caller has gone
  drip          does it, and sends its answer a byte now and then
  drop          does it, and closes the connection without an answer
  drop_before   closes the connection, and has done nothing
  twice         does it, and answers two times
  500           answers 500, and has done nothing
  500_done      answers 500, and has done it
  duplicate     answers "duplicate", and says 404 to the next look-ups
  429 401 400   answers so, and has done nothing
  garbage       does it, and answers something else
  other_amount  does it, and shows another amount
"""

import hashlib
import hmac
import http.server
import json
import threading
from collections import deque
from typing import Any
from urllib.parse import parse_qs, urlsplit

SECRET = "a-webhook-secret-only-for-tests"
API_KEY = "an-api-key-only-for-tests"


class Bank:
    """What the service holds: one payout per idempotency key, and how much money has really left."""

    def __init__(self) -> None:
        self.payouts: dict[str, dict[str, Any]] = {}
        self.faults: deque[str] = deque()
        self.look_up_faults: deque[str] = deque()
        self.requests: list[tuple[str, str]] = []
        self.blind: set[str] = set()  # keys that a look-up does not find
        self.released = threading.Event()  # lets slow answers go
        self.status = "pending"  # of a new payout
        self.now_ms = 1_000
        self._lock = threading.Lock()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Handler,), {"bank": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def do(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Take a payout, once for each key."""
        with self._lock:
            known = self.payouts.get(asked["key"])
            if known is None:
                known = {
                    "id": f"po_{len(self.payouts) + 1}",
                    "status": self.status,
                    "amount": asked["amount"],
                    "currency": asked["currency"],
                    "key": asked["key"],
                    "updated_ms": self.now_ms,
                }
                self.payouts[asked["key"]] = known
            return dict(known)

    def becomes(self, key: str, status: str, code: str = "") -> tuple[dict[str, str], bytes]:
        """Something became of a payout. Returns the webhook that says so, which the test sends, loses or repeats."""
        with self._lock:
            self.now_ms += 1
            self.payouts[key] |= {"status": status, "failure_code": code, "updated_ms": self.now_ms}
            return webhook(f"evt_{self.now_ms}", dict(self.payouts[key]))

    @property
    def gone(self) -> int:
        """The money that has left and has not come back."""
        return sum(each["amount"] for each in self.payouts.values() if each["status"] == "paid")

    def next_fault(self, queue: deque[str]) -> str:
        with self._lock:
            return queue.popleft() if queue else "ok"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers the requests of a `bank`."""

    bank: Bank
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.bank.requests.append(("POST", body["key"]))
        assert self.headers["idempotency-key"] == body["key"]
        assert self.headers["authorization"] == f"Bearer {API_KEY}"
        fault = self.bank.next_fault(self.bank.faults)
        if fault in ("drop_before", "500", "429", "401", "400"):
            return self._not_done(fault)
        shown = self.bank.do(body)
        if fault == "duplicate":
            self.bank.blind.add(body["key"])
            return self._answer(409, {"error": {"code": "duplicate_payout"}})
        return self._done(fault, shown)

    def do_GET(self) -> None:
        key = parse_qs(urlsplit(self.path).query)["key"][0]
        self.bank.requests.append(("GET", key))
        fault = self.bank.next_fault(self.bank.look_up_faults)
        found = [dict(self.bank.payouts[key])] if key in self.bank.payouts else []
        if key in self.bank.blind or fault == "404":
            return self._answer(404, {"error": {"code": "not_found"}})
        if fault in ("drop_before", "500"):
            return self._not_done(fault)
        self._answer(200, {"data": found})

    def _not_done(self, fault: str) -> None:
        if fault == "drop_before":
            self.close_connection = True
            return
        codes = {"500": "oops", "429": "rate_limited", "401": "unauthorized", "400": "invalid_account"}
        self._answer(int(fault), {"error": {"code": codes[fault]}})

    def _done(self, fault: str, shown: dict[str, Any]) -> None:
        if fault == "drop":
            self.close_connection = True
            return
        if fault == "slow":
            self.bank.released.wait(20)
        if fault == "drip":
            return self._drip()
        if fault == "500_done":
            return self._answer(500, {"error": {"code": "oops"}})
        if fault == "garbage":
            return self._answer(200, ["thanks"])
        if fault == "other_amount":
            shown["amount"] += 1
        self._answer(201, shown)
        if fault == "twice":
            self._answer(201, shown)

    def _answer(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        try:
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            self.close_connection = True

    def _drip(self) -> None:
        self.send_response(201)
        self.send_header("content-length", "1000")
        self.end_headers()
        try:
            while not self.bank.released.wait(0.05):
                self.wfile.write(b" ")
        except OSError:
            pass
        self.close_connection = True

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def webhook(
    event: str, shown: dict[str, Any], *, at_s: int = 1_000, secret: str = SECRET
) -> tuple[dict[str, str], bytes]:
    """A signed webhook: its headers and its body."""
    body = json.dumps({"id": event, "data": shown}).encode()
    signature = hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
    return {"payout-signature": f"t={at_s},v1={signature}"}, body
