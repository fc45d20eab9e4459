"""The TypeScript module that types a client: a frozen map of procedures in, text out. Pure.

What it says is what crosses the wire with superjson, seen from the client:
- a member of an input may be left out when it has a default, one of an output only when the server may leave it out;
- a Struct that looks different in the two directions becomes two interfaces, the second with the suffix `Input`;
- the same procedures give the same text, byte for byte.
"""

from server.typescript.module import COMMAND, render_module

__all__ = ["COMMAND", "render_module"]
