"""The metrics of a server: counted in place, told to Prometheus when it asks. See docs/decisions/0031-metrics.md.

prometheus-client makes the text (`exposition.py`); nothing on the path of a request calls it.
"""

from server.metrics.blobs import MeteredBlobs
from server.metrics.cells import Counter
from server.metrics.database import MeteredDatabase
from server.metrics.endpoint import MetricsReport
from server.metrics.families import OK, UNKNOWN
from server.metrics.meters import CallMeter, Meters, RouteMeter, SocketMeters, SubscriptionMeter, layout_of
from server.metrics.shared import Cells, PrivateCells, SharedCells, shared_folder

__all__ = [
    "OK",
    "UNKNOWN",
    "CallMeter",
    "Cells",
    "Counter",
    "MeteredBlobs",
    "MeteredDatabase",
    "Meters",
    "MetricsReport",
    "PrivateCells",
    "RouteMeter",
    "SharedCells",
    "SocketMeters",
    "SubscriptionMeter",
    "layout_of",
    "shared_folder",
]
