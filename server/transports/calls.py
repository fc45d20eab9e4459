"""Running procedures for every transport: the context of a caller, and the outcome of a call, which is never an exception."""

import traceback
from collections.abc import Mapping
from time import perf_counter
from typing import Any

from procedures import Call, Context, Procedure, Procedures, ReadInput
from schemas import ServiceError
from server.credentials import Authenticator
from server.log import log_exception
from server.metrics import UNKNOWN, Meters
from server.trpc import responses
from server.trpc.jsonl import Output, Settled
from server.trpc.responses import Outcome
from server.trpc.superjson import is_plain
from storage import Attachments

ROUTE = "trpc"  # what the log calls a request that failed before its procedures were known
_SERVER_ERROR = 500  # from here on it is our failure, and somebody must look


class Calls:
    """Runs the procedures of a frozen map. `stacks` puts stacks into errors, for development."""

    def __init__(
        self,
        procedures: Procedures,
        attachments: Attachments,
        authenticator: Authenticator,
        meters: Meters,
        *,
        stacks: bool = False,
    ) -> None:
        self.meters = meters
        self._called = meters.calls.called
        self._failed = meters.calls.failed
        self.find = procedures.get
        self.encoders = {procedure.path: responses.encoder(procedure) for procedure in procedures}
        self._whole_encoders = {procedure.path: responses.whole_encoder(procedure) for procedure in procedures}
        self._plain = frozenset(procedure.path for procedure in procedures if is_plain(procedure.output_type))
        self.cannot_defer = self._plain - {procedure.path for procedure in procedures if procedure.streams}
        self._attachments = attachments
        self._principal = authenticator.principal
        self._stacks = stacks

    def name(self, path: str) -> str:
        """What the log calls a call of that path, which is a client's text unless there is such a procedure."""
        return UNKNOWN if self.find(path) is None else path

    async def context(
        self,
        method: str,
        headers: Mapping[bytes, bytes],
        request_id: str,
        connection_params: Mapping[str, str] | None = None,
    ) -> Context | ServiceError:
        """The context, or the error that each call fails with once its procedure and method are known to be right."""
        try:
            return Context(self._attachments, await self._principal(method, headers, connection_params))
        except Exception as error:  # noqa: BLE001 (the edge: `failure` logs what must be seen)
            return self.failure(error, ROUTE, request_id)

    async def outcome(self, procedure: Procedure, context: Context, read_input: ReadInput, request_id: str) -> Outcome:
        """Run one call to its end: the encoded data of its result, or its error, which is counted. Never raises."""
        path = procedure.path
        try:
            output = await procedure.run(Call(path, procedure.kind, context, read_input, procedure.meta))
            return self._whole_encoders[path](output)
        except Exception as error:  # noqa: BLE001 (the edge: `failure` logs what must be seen)
            return self.refused(path, self.failure(error, path, request_id))

    async def timed_outcome(self, procedure: Procedure, context: Context, read_input: ReadInput, request_id: str) -> Outcome:
        """As `outcome`, and counted with its time. A call alone in its request is counted with that: `TrpcMeter.called`."""
        started = perf_counter()
        outcome = await self.outcome(procedure, context, read_input, request_id)
        if isinstance(outcome, bytes):
            self._called(procedure.path, started)
        return outcome

    async def output(self, procedure: Procedure, context: Context, read_input: ReadInput, request_id: str) -> Any:
        """What a procedure gives, as it is: for streams, whose parts are encoded when they come. Raises only ServiceError."""
        path = procedure.path
        try:
            return await procedure.run(Call(path, procedure.kind, context, read_input, procedure.meta))
        except Exception as error:
            raise self.failure(error, path, request_id) from error

    async def settled(self, procedure: Procedure, context: Context, read_input: ReadInput, request_id: str) -> Settled:
        """Run one call for an answer in JSON lines, which may hold what is not there yet. Never raises.

        For one that cannot hold such, `outcome` is the shorter way: `cannot_defer`.
        """
        path = procedure.path
        started = perf_counter()
        try:
            output = await self.output(procedure, context, read_input, request_id)
        except ServiceError as error:
            return self.refused(path, error)
        self._called(path, started)
        return Output(output, self.encoders[path] if procedure.streams and path in self._plain else None)

    def refused(self, path: str, error: ServiceError) -> ServiceError:
        """The error, counted as the outcome of a call of that path."""
        self._failed(path, error.code.name)
        return error

    def failure(self, error: Exception, route: str, request_id: str) -> ServiceError:
        """What the client is told of an exception; logs it when somebody must look."""
        if isinstance(error, ServiceError):
            if error.code.http_status >= _SERVER_ERROR:
                log_exception(error, route=route, request_id=request_id)
            return error
        log_exception(error, route=route, request_id=request_id)
        return responses.internal(error)

    def stack(self, error: ServiceError) -> str | None:
        """The stack for `data.stack`, in development; of an unexpected exception the exception's own."""
        return "".join(traceback.format_exception(error)) if self._stacks else None
