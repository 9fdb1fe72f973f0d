"""Just enough of HTTP/2 for a receiver that knows no paths: each request is recorded as one to "/" and
answered 200, as /deaf/N of receiver.py does it."""

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, PING = 0, 1, 4, 6
END_STREAM, ACK, END_HEADERS = 1, 1, 4
STATUS_200 = b"\x88"  # HPACK's static table has it


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


async def serve(reader, writer, is_deaf, record, flood=False):
    """Answers what comes over a connection until that ends; calls record(body) for each request, and then
    is_deaf() to know whether to say no more. With flood, an answer never ends, and nothing is in it."""
    bodies = {}
    deaf = False
    await reader.readexactly(len(PREFACE))
    writer.write(frame(SETTINGS, 0, 0))
    while True:
        head = await reader.readexactly(9)
        kind, flags, stream = head[3], head[4], int.from_bytes(head[5:9], "big")
        payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
        if kind in (SETTINGS, PING) and not flags & ACK and not deaf:
            writer.write(frame(kind, ACK, 0, payload if kind == PING else b""))
        if kind == DATA:
            bodies[stream] = bodies.get(stream, b"") + payload
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            record(bodies.pop(stream, b""))
            deaf = deaf or is_deaf()
            if flood:
                writer.write(frame(HEADERS, END_HEADERS, stream, STATUS_200))
            while flood:
                writer.write(frame(DATA, 0, stream) * 5000)
                await writer.drain()
            if not deaf:
                writer.write(frame(HEADERS, END_HEADERS | END_STREAM, stream, STATUS_200))
        await writer.drain()
