"""What the MQTT broker alone can deliver: a reader that knows the size of every packet and acknowledges in bulk.

`python -m bench.bridge.sink PORT CLIENT_ID SITE COUNT` takes COUNT readings out of the session and prints
`{"received": ..., "digest": ..., "rate": ..., "cpu_us": ...}`.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from bench.bridge import load, wire

_RECEIVE_MAXIMUM = 65_535
_PUBLISH = 0x32  # QoS 1 (3.3.1)
_PUBACK = (0x40, 2)
_CHUNK = 1 << 20
_SILENT_S = 10.0


def main(port: int, client_id: str, site: str, count: int) -> None:
    """Drain; end early when nothing comes for ten seconds."""
    body = 2 + len(load.topic(site, 0)) + 2 + 1 + load.PAYLOAD_BYTES  # topic, packet id, no properties, payload
    size = len(wire.packet(_PUBLISH, b"\0" * body))
    content = bytearray(count * size)
    packets = np.frombuffer(content, np.uint8).reshape(count, size)
    view = memoryview(content)
    id_at = size - load.PAYLOAD_BYTES - 3
    acknowledgements = np.empty((count, 4), np.uint8)
    acknowledgements[:, :2] = _PUBACK
    arrived: list[tuple[float, int]] = []
    filled = done = 0
    with wire.connect(port, client_id, "5", receive_maximum=_RECEIVE_MAXIMUM) as connection:
        connection.settimeout(_SILENT_S)
        cpu = time.process_time()
        while done < count:
            try:
                more = connection.recv_into(view[filled : filled + _CHUNK])
            except TimeoutError:
                break
            if not more:
                break
            filled += more
            whole = filled // size
            if whole == done:
                continue
            acknowledgements[done:whole, 2:] = packets[done:whole, id_at : id_at + 2]
            connection.sendall(acknowledgements[done:whole].tobytes())
            done = whole
            arrived.append((time.perf_counter(), done))
        cpu = time.process_time() - cpu
        connection.sendall(b"\xe0\0")
    _report(packets[:done], arrived, cpu)


def _report(
    packets: np.ndarray[tuple[int, int], np.dtype[np.uint8]], arrived: list[tuple[float, int]], cpu: float
) -> None:
    payloads = packets[:, -load.PAYLOAD_BYTES :]
    distinct = {bytes(payload) for payload in payloads if packets[0, 0] == _PUBLISH}
    (began, first), (ended, last) = arrived[0], arrived[-1]
    found = {
        "received": len(distinct),
        "digest": sum(map(load.digest_of, distinct)) % (1 << 64),
        "rate": (last - first) / max(1e-3, ended - began),
        "cpu_us": 1e6 * cpu / max(1, last),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    where, session, plant, total = sys.argv[1:]
    main(int(where), session, plant, int(total))
