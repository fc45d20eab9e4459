"""What the application gives to the connections of its process: names in the state of ASGI's lifespan.

A connection finds them in its `app_state`; an application that does not set one does without.
"""

from typing import Final

# Callable[[], None]: the process begins to stop. Called before anybody waits for connections to end, and maybe repeatedly.
BEGIN_SHUTDOWN: Final = "attachd.begin_shutdown"
