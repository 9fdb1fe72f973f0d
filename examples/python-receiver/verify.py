import base64
import hashlib
import hmac
import json
import time


def verify(secret, headers, body):
    """The event of a request, or a ValueError. `body`: the bytes as they came."""
    id, timestamp, signatures = (headers.get(f"webhook-{name}") for name in ("id", "timestamp", "signature"))
    if not (id and timestamp and signatures):
        raise ValueError("a webhook header is missing")
    if not timestamp.isascii() or not timestamp.isdigit() or abs(time.time() - int(timestamp)) > 300:
        raise ValueError("too old, or from the future")

    key = base64.b64decode(secret[6:] + "==") if secret.startswith("whsec_") else secret.encode()
    signed = f"{id}.{timestamp}.".encode("latin-1") + body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    if not any(hmac.compare_digest(expected.encode(), given.encode()) for given in signatures.split(" ")):
        raise ValueError("the signature is wrong")
    return json.loads(body)
