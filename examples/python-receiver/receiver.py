#!/usr/bin/env python3
"""A receiver of alerting's webhooks with Python's standard library alone: verifies, sees each event
once, and keeps the list of open incidents.

  ALERTING_SECRET=whsec_... PORT=3000 python3 receiver.py

POST anywhere delivers; GET /incidents shows what is open.
"""
import collections
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from verify import verify

LARGEST_BODY = 1 << 20
MOST_SEEN = 100_000

secret = os.environ.get("ALERTING_SECRET") or sys.exit("ALERTING_SECRET is not set")
incidents = {}  # alert id -> summary
seen = collections.OrderedDict()  # webhook ids; a database table in a real application
lock = threading.Lock()


def handle(id, event):
    with lock:
        # The same delivery may come twice: its answer was lost, or somebody sent it again.
        if id in seen:
            return
        alert, summary = event["data"].get("alert"), event["data"].get("summary", "")
        if event["type"] == "alert.firing":
            incidents[alert["id"]] = summary
        elif event["type"] == "alert.resolved":
            incidents.pop(alert["id"], None)
        print(event["type"], summary, flush=True)
        # Noted only now: had the work failed, the next try must do it again.
        seen[id] = True
        if len(seen) > MOST_SEEN:
            seen.popitem(last=False)


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/incidents":
            with lock:
                self.answer(200, json.dumps(incidents).encode())
        else:
            self.answer(404)

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > LARGEST_BODY:
            self.close_connection = True
            return self.answer(413, b"the body is too large", Connection="close")
        body = self.rfile.read(int(length))
        try:
            event = verify(secret, self.headers, body)
        except ValueError as error:
            return self.answer(401, str(error).encode())
        handle(self.headers["webhook-id"], event)
        self.answer(204)

    def log_message(self, *_):
        pass


def main():
    address = (os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "3000")))
    with ThreadingHTTPServer(address, Receiver) as server:
        print("ready", server.server_port, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
