"""The ways in which calls of procedures come and answers go: HTTP with JSON, and what streams beside it, and WebSocket.

They move bytes between the socket and the pure core in `server/trpc/`; what runs the procedures is shared: `calls.py`.
"""

from server.transports.bodies import Limits
from server.transports.calls import Calls
from server.transports.http import Streams, TrpcEndpoint
from server.transports.jsonl import LineStreams
from server.transports.sse import Subscriptions
from server.transports.streams import StreamLimits
from server.transports.websocket import WebSocketEndpoint

__all__ = [
    "Calls",
    "Limits",
    "LineStreams",
    "StreamLimits",
    "Streams",
    "Subscriptions",
    "TrpcEndpoint",
    "WebSocketEndpoint",
]
