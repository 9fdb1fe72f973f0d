#!/usr/bin/env python3
"""A webhook receiver for tests: records what it gets and misbehaves as the path asks.

Each request is one JSON line in --log: at (seconds), method, path, headers, body (text), body_base64.
The first line of standard output says "ready PORT". Behaviours, by the path's first part:

  /ok  /status/503,503,200   each answer of the list once, the last for ever (by path)
  /retry-after/3[/status]    429 (or status) with Retry-After: 3 once, then 200; "date3": as an HTTP date
  /slow/30  /hang            answers after 30 s; never answers
  /slow-ok/0.05              answers 200 after 0.05 s
  /drip                      one header byte a second; /drip-body: 200, then one body byte a second
  /endless                   200 and an endless body; /endless-headers: headers without end
  /endless-chunk             200 and a chunk whose head never ends
  /redirect/302[?to=URL]     Location: URL (default: /redirected on this server)
  /gone                      410
  /hints                     401 with a cookie, another service's port, and the wish for TLS
  /reset                     resets the connection; /close: closes it without an answer
  /continue                  100 Continue for ever
  /long-header               a header of 400 kB
  /once/reset                200; resets the connection at its second request; /once/close: closes it
  /last                      200 with Connection: close, and closes it
  /twice                     200, and with the next /again another one that nobody asked for; 500 from then on
  /behind                    200, and behind it in the same TLS record a 201; 500 from then on
  /switch                    101, to a protocol of which it sends nothing
  /gzipbomb                  a small body that would be 200 MB when decompressed
  /garbage                   no HTTP at all; /binary: a body of bytes that are no UTF-8, with NUL
  /body/N                    200 with N bytes of body
  /deaf/N                    answers N requests; then none on any connection that is open at that time

Behaviours may be changed while running: PUT /control {"path": "/x", "behaviour": "/status/500"} makes
/x behave like /status/500.
"""
import argparse
import asyncio
import base64
import email.utils
import gzip
import json
import os
import socket
import ssl
import struct
import sys
import time
import warnings

import http2

MAX_BODY = 64 << 20


def gzip_bomb():
    # Members of a gzip stream may be concatenated: compressing one megabyte is enough.
    return gzip.compress(bytes(1 << 20)) * 200


class Receiver:
    def __init__(self, log, http2_answers=0, http2_manner=None):
        self.log = log
        self.http2_answers = http2_answers
        self.http2_manner = http2_manner
        self.counts = {}
        self.aliases = {}
        self.connections = 0
        self.deaf_until = 0
        self.again = asyncio.Event()

    async def handle(self, reader, writer):
        self.connections += 1
        connection = writer.number = self.connections
        tls = writer.get_extra_info("ssl_object")
        try:
            if tls and tls.selected_alpn_protocol() == "h2":
                await http2.serve(reader, writer, lambda: self.is_deaf(connection, self.http2_answers),
                                  lambda body: self.record("POST", "/", [], body, connection), self.http2_manner)
            while await self.handle_one(reader, writer, connection):
                pass
        except (ConnectionError, EOFError, ValueError, asyncio.LimitOverrunError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def handle_one(self, reader, writer, connection):
        line = await reader.readline()
        if not line.strip():
            return False
        method, target, _ = line.decode("latin-1").split(" ", 2)
        headers = []
        while True:
            line = (await reader.readline()).decode("latin-1").rstrip("\r\n")
            if not line:
                break
            name, _, value = line.partition(":")
            headers.append([name, value.strip()])
        lower = {name.lower(): value for name, value in headers}
        body = await reader.readexactly(min(int(lower.get("content-length", 0)), MAX_BODY))
        path = target.split("?", 1)[0]
        if method == "PUT" and path == "/control":
            change = json.loads(body)
            self.aliases[change["path"]] = change["behaviour"]
            return await self.answer(writer, 200)
        self.record(method, target, headers, body, connection)
        behaviour = self.aliases.get(path, target)
        keep = await self.behave(writer, behaviour, path)
        return keep and lower.get("connection", "").lower() != "close"

    def record(self, method, target, headers, body, connection):
        entry = {
            "at": time.time(), "method": method, "path": target, "headers": headers,
            "connection": connection, "body": body.decode("utf-8", "replace"),
            "body_base64": base64.b64encode(body).decode(),
        }
        self.log.write(json.dumps(entry) + "\n")
        self.log.flush()

    async def answer(self, writer, status, headers=(), body=b"{}"):
        lines = [f"HTTP/1.1 {status} Answer", f"Content-Length: {len(body)}",
                 "Content-Type: application/json", *headers, "", ""]
        writer.write("\r\n".join(lines).encode("latin-1") + (b"" if status == 204 else body))
        await writer.drain()
        return True

    async def behave(self, writer, behaviour, path):
        target, _, query = behaviour.partition("?")
        parts = [p for p in target.split("/") if p] or ["ok"]
        name, arguments = parts[0], parts[1:]
        count = self.counts[path] = self.counts.get(path, 0) + 1
        method = getattr(self, "do_" + name.replace("-", "_"), None)
        if method is None:
            return await self.answer(writer, 200)
        return await method(writer, arguments, count, query)

    async def do_status(self, writer, arguments, count, _query):
        statuses = [int(s) for s in arguments[0].split(",")]
        status = statuses[min(count, len(statuses)) - 1]
        body = b"" if status == 204 else json.dumps({"status": status}).encode()
        return await self.answer(writer, status, body=body)

    async def do_retry_after(self, writer, arguments, count, _query):
        if count > 1:
            return await self.answer(writer, 200)
        value = arguments[0]
        if value.startswith("date"):
            # Rounded up: an HTTP date has whole seconds.
            value = email.utils.formatdate(int(time.time()) + 1 + int(value[4:]), usegmt=True)
        status = int(arguments[1]) if len(arguments) > 1 else 429
        return await self.answer(writer, status, [f"Retry-After: {value}"])

    async def do_slow(self, writer, arguments, _count, _query):
        await asyncio.sleep(float(arguments[0]) if arguments else 30)
        return await self.answer(writer, 200)

    do_slow_ok = do_slow

    async def do_hang(self, _writer, _arguments, _count, _query):
        await asyncio.sleep(3600)
        return False

    async def do_drip(self, writer, _arguments, _count, _query):
        writer.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(1)

    async def do_drip_body(self, writer, _arguments, _count, _query):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(1)

    async def do_endless(self, writer, _arguments, _count, _query):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2147483648\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async def do_endless_chunk(self, writer, _arguments, _count, _query):
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async def do_endless_headers(self, writer, _arguments, _count, _query):
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-More: " + b"y" * 1000 + b"\r\n")
            await writer.drain()

    async def do_continue(self, writer, _arguments, _count, _query):
        while True:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    async def do_long_header(self, writer, _arguments, _count, _query):
        return await self.answer(writer, 200, ["X-Long: " + "y" * 400_000])

    async def do_twice(self, writer, _arguments, count, _query):
        if count > 1:
            return await self.answer(writer, 500)
        await self.answer(writer, 200)
        await self.again.wait()
        return await self.answer(writer, 200)

    async def do_again(self, writer, _arguments, _count, _query):
        self.again.set()
        return await self.answer(writer, 200)

    async def do_behind(self, writer, _arguments, count, _query):
        if count > 1:
            return await self.answer(writer, 500)
        # The first record ends within the body: what is read then is no more than the rest of it.
        writer.write(b"HTTP/1.1 200 Answer\r\nContent-Length: 2\r\n\r\n{")
        writer.write(b"}HTTP/1.1 201 Answer\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        return True

    async def do_switch(self, writer, _arguments, _count, _query):
        writer.write(b"HTTP/1.1 101 Answer\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        await writer.drain()
        return True

    async def do_redirect(self, writer, arguments, _count, query):
        location = query.partition("to=")[2] or "/redirected"
        status = int(arguments[0]) if arguments else 302
        return await self.answer(writer, status, [f"Location: {location}"])

    async def do_hints(self, writer, _arguments, _count, _query):
        return await self.answer(writer, 401, [
            "WWW-Authenticate: Basic", "Set-Cookie: a=b", 'Alt-Svc: h2=":1"',
            "Strict-Transport-Security: max-age=9999"])

    async def do_gone(self, writer, _arguments, _count, _query):
        return await self.answer(writer, 410, body=b"gone for good")

    async def do_reset(self, writer, _arguments, _count, _query):
        peer = writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        return False

    async def do_once(self, writer, arguments, count, query):
        writer.requests = getattr(writer, "requests", 0) + 1
        if writer.requests == 1:
            return await self.answer(writer, 200)
        return arguments[0] == "reset" and await self.do_reset(writer, arguments, count, query)

    async def do_last(self, writer, _arguments, _count, _query):
        await self.answer(writer, 200, ["Connection: close"])
        return False

    async def do_close(self, _writer, _arguments, _count, _query):
        return False

    async def do_garbage(self, writer, _arguments, _count, _query):
        writer.write(b"220 mail.example ESMTP\r\n" * 3)
        await writer.drain()
        return False

    async def do_binary(self, writer, _arguments, _count, _query):
        return await self.answer(writer, 500, body=bytes(range(256)) * 8)

    def is_deaf(self, connection, answers):
        self.counts["deaf"] = count = self.counts.get("deaf", 0) + 1
        if count == answers + 1:
            self.deaf_until = self.connections
        return connection <= self.deaf_until

    async def do_deaf(self, writer, arguments, _count, _query):
        if self.is_deaf(writer.number, int(arguments[0])):
            await asyncio.sleep(3600)
        return await self.answer(writer, 200)

    async def do_body(self, writer, arguments, _count, _query):
        return await self.answer(writer, 200, body=b"b" * int(arguments[0]))

    async def do_gzipbomb(self, writer, _arguments, _count, _query):
        body = gzip_bomb()
        headers = ["Content-Encoding: gzip"]
        return await self.answer(writer, 200, headers, body)


async def end_with_parent():
    """A test that dies leaves no receiver behind."""
    parent = os.getppid()
    while os.getppid() == parent:
        await asyncio.sleep(1)
    os._exit(0)


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--log", default="-", help="file for the JSON lines; '-': standard error")
    parser.add_argument("--tls-cert", help="serve TLS with this certificate chain (PEM)")
    parser.add_argument("--tls-key", help="its key (PEM)")
    parser.add_argument("--tls-client-ca", help="ask for client certificates of this authority (PEM), and refuse others")
    parser.add_argument("--http2", type=int, metavar="N", help="speak HTTP/2 over TLS: like /deaf/N, whatever the path")
    parser.add_argument("--http2-manner", help="how: see http2.py")
    parser.add_argument("--tls-max", choices=["1.1", "1.2", "1.3"], help="newest TLS version to speak")
    options = parser.parse_args()

    tls = None
    if options.tls_cert:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(options.tls_cert, options.tls_key)
        if options.tls_client_ca:
            tls.load_verify_locations(options.tls_client_ca)
            tls.verify_mode = ssl.CERT_REQUIRED
        if options.http2 is not None:
            tls.set_alpn_protocols(["h2"])
        warnings.simplefilter("ignore", DeprecationWarning)
        if options.tls_max:
            tls.maximum_version = {"1.1": ssl.TLSVersion.TLSv1_1, "1.2": ssl.TLSVersion.TLSv1_2,
                                   "1.3": ssl.TLSVersion.TLSv1_3}[options.tls_max]
        if options.tls_max == "1.1":
            tls.set_ciphers("ALL:@SECLEVEL=0")
            tls.minimum_version = ssl.TLSVersion.TLSv1
            tls.maximum_version = ssl.TLSVersion.TLSv1_1
    log = sys.stderr if options.log == "-" else open(options.log, "a", encoding="utf-8")
    receiver = Receiver(log, options.http2, options.http2_manner)
    server = await asyncio.start_server(
        receiver.handle, options.host, options.port, ssl=tls, backlog=1024, limit=1 << 20)
    print("ready", server.sockets[0].getsockname()[1], flush=True)
    watcher = asyncio.create_task(end_with_parent())
    async with server:
        await server.serve_forever()
    await watcher


if __name__ == "__main__":
    asyncio.run(main())
