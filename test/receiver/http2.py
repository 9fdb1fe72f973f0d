"""Just enough of HTTP/2 for a receiver that knows no paths: each request is recorded as one to "/" and
answered 200, as /deaf/N of receiver.py does it."""

import asyncio
import random

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
NO_ERROR, REFUSED_STREAM = (code.to_bytes(4, "big") for code in (0, 7))
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = (code.to_bytes(2, "big") for code in (3, 4))
STATUS_200 = b"\x88"  # HPACK's static table has it


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


LIMITS = {
    "no-streams": MAX_CONCURRENT_STREAMS + bytes(4),
    "no-window": INITIAL_WINDOW_SIZE + bytes(4),
    "late-window": INITIAL_WINDOW_SIZE + bytes(4),
}
FLOODS = {
    "empty-data": lambda stream: frame(DATA, 0, stream),
    "settings": lambda stream: frame(SETTINGS, 0, 0),
    "ping": lambda stream: frame(PING, 0, 0, b"at least"),
}


def window_update(stream, size):
    return frame(WINDOW_UPDATE, 0, stream, size.to_bytes(4, "big"))


def pieces(text, chance):
    while text:
        size = chance.choice([1, 9, 10, 100, 1000, 5000, 16000])
        yield text[:size]
        text = text[size:]


async def serve(reader, writer, is_deaf, record, manner=None):
    """Answers what comes over a connection until that ends; calls record(body) for each request, and then
    is_deaf() to know whether to say no more. Manners:

    empty-data  an answer never ends, and nothing is in it
    settings    no answer, but such frames without end; ping: the same
    goaway      at its second request the connection is said to end with its first
    refuse      each request is refused
    no-streams  after a connection's first request no other is taken; no-window: no body; late-window: no
                body in its first half second
    large       an answer of 45 kB, but none to a request whose body is "hang"; pieces: in many records
    """
    bodies = {}
    chance = random.Random(1)
    deaf = False
    answered = 0
    await reader.readexactly(len(PREFACE))
    writer.write(frame(SETTINGS, 0, 0))
    while True:
        head = await reader.readexactly(9)
        kind, flags, stream = head[3], head[4], int.from_bytes(head[5:9], "big")
        payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
        if kind in (SETTINGS, PING) and not flags & ACK and not deaf:
            writer.write(frame(kind, ACK, 0, payload if kind == PING else b""))
        if kind == HEADERS and manner == "late-window":
            await asyncio.sleep(0.5)
            writer.write(window_update(stream, 1 << 16))
        if kind == DATA:
            if payload:
                writer.write(window_update(0, len(payload)))
            bodies[stream] = bodies.get(stream, b"") + payload
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            asked = bodies.pop(stream, b"")
            record(asked)
            deaf = deaf or is_deaf()
            if manner == "empty-data":
                writer.write(frame(HEADERS, END_HEADERS, stream, STATUS_200))
            while manner in FLOODS:
                writer.write(FLOODS[manner](stream) * 5000)
                await writer.drain()
            if manner == "goaway" and answered > 0:
                writer.write(frame(GOAWAY, 0, 0, answered.to_bytes(4, "big") + NO_ERROR))
                return
            if manner == "refuse":
                writer.write(frame(RST_STREAM, 0, stream, REFUSED_STREAM))
            elif manner in ("large", "pieces"):
                if asked != b"hang":
                    body = frame(DATA, 0, stream, bytes(15000)) * 3 + frame(DATA, END_STREAM, stream)
                    answer = frame(HEADERS, END_HEADERS, stream, STATUS_200) + body
                    for piece in pieces(answer, chance) if manner == "pieces" else [answer]:
                        writer.write(piece)
                        await asyncio.sleep(0)
            elif not deaf:
                if manner in LIMITS and not answered:  # which are known before the answer is
                    writer.write(frame(SETTINGS, 0, 0, LIMITS[manner]))
                writer.write(frame(HEADERS, END_HEADERS | END_STREAM, stream, STATUS_200))
            answered = stream
        await writer.drain()
