"""What commands that copy bytes print: a line for each problem, a bar, and a line that sums up."""

from collections.abc import AsyncIterator

import click
import msgspec

from server.progress import progress
from storage import Problem, Step


class Copied(msgspec.Struct):
    """What a run came to: attachments, and the bytes of those that were copied."""

    attachments: int = 0
    copied: int = 0
    copied_bytes: int = 0
    removed: int = 0
    problems: int = 0


async def follow(events: AsyncIterator[Problem | Step], size: int, *, as_json: bool) -> Copied:
    """Print what happens, of so many bytes in all, and give what it came to."""
    done = Copied()
    with progress("bytes", size) as bar:
        async for event in events:
            if isinstance(event, Problem):
                done.problems += 1
                bar.tell(msgspec.json.encode(event).decode() if as_json else problem_line(event))
                continue
            done.attachments += event.rows
            done.copied += event.copied
            done.copied_bytes += event.copied_bytes
            done.removed += event.removed
            bar.advance(event.size)
    if as_json:
        click.echo(msgspec.json.encode({"summary": done}).decode())
    else:
        click.echo(
            f"{done.attachments} attachments: {done.copied} copied ({done.copied_bytes} bytes), {done.removed} removed from the"
            f" source, {done.problems} problems"
        )
    return done


def problem_line(problem: Problem) -> str:
    """A problem for people."""
    expected = f": {problem.found}, expected {problem.expected}" if problem.found else ""
    return f"{problem.problem} at the {problem.place} {problem.key} of attachment {problem.attachment}{expected}"
