"""What an operator decides about the store; the settings give it, and tests take the defaults."""

import msgspec


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Times are in seconds unless the name says otherwise.

    `retention_s` is how long a deleted attachment can be restored, `max_batch_size` what clients are told of batches,
    `base_url` the origin that links begin with.
    """

    retention_s: float = 30 * 86_400.0
    max_batch_size: int = 100
    base_url: str = "http://127.0.0.1:8080"
