"""A link between two clusters, emulated: one bottleneck each way, first in first out, for all connections together.

What is read from a client waits until the bottleneck has sent all that came before it (`rate` bytes a second), and
arrives half a round trip later. TCP itself runs over the loopback, so loss is stood for by stalls: a connection holds
everything back for a while, as it does while TCP sends a segment again. `window` is the receive window of each
connection: so many bytes may be unacknowledged. A cut resets every connection; what was under way is lost.

`python -m bench.link '{"port": 9192, "target": "127.0.0.1:9092", "rate": 32000, "rtt_s": 0.3}'` runs one, takes
commands as JSON lines on its standard input, and answers each with its counts.
"""
