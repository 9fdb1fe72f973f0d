"""The demo's webhook endpoint: takes POSTs on 127.0.0.1 and checks their signatures as the
Standard Webhooks specification says."""
import base64
import hashlib
import hmac
import json
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOLERANCE = 300  # seconds that a timestamp may be off


@dataclass
class Webhook:
    id: str
    body: dict
    problem: str  # empty: genuine
    received: float  # time.monotonic()

    @property
    def type(self):
        return self.body.get("type", "?")


def problem_of(headers, body, secret):
    """Why the request is not to be trusted; empty when it is."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    try:
        age = abs(time.time() - int(headers["webhook-timestamp"]))
    except (TypeError, ValueError):
        return "no timestamp"
    if age > TOLERANCE:
        return f"timestamp is {age:.0f} s off"
    for signature in (headers["webhook-signature"] or "").split():
        version, _, value = signature.partition(",")
        if version == "v1" and hmac.compare_digest(value, expected):
            return ""
    return "wrong signature"


class Receiver:
    """Calls `on_webhook(Webhook)` for each request; answers 204 to genuine ones, 401 to others."""

    def __init__(self, secret, on_webhook):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                received = time.monotonic()
                body = self.rfile.read(int(self.headers["content-length"] or 0))
                problem = problem_of(self.headers, body, secret)
                try:
                    content = json.loads(body)
                except ValueError:
                    content, problem = {}, problem or "the body is no JSON"
                self.send_response(401 if problem else 204)
                self.send_header("content-length", "0")
                self.end_headers()
                on_webhook(Webhook(self.headers["webhook-id"], content, problem, received))

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/alerts"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
