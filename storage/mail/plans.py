"""What of a message goes into the mail itself, and what as a link because it would be too large. Pure.

Images that the HTML shows come first, then the files in their order; what no longer fits becomes a signed link, an image in its
place in the text, a file in a list below it.
"""

import html
from collections.abc import Collection, Mapping, Sequence

import msgspec

from storage.mail.html import uploads_shown, with_images
from storage.mail.mime import Composed, File, Mail, compose, encoded_size
from storage.mail.text import plain_text

MAX_TEXT_CHARACTERS = 262_144  # of the plain text: it is a summary for few readers
# Of the headers of a part: its boundary, and its name percent-encoded, 3 for each of up to 255 bytes, folded.
PART_BYTES = 1536
_UNITS = ("bytes", "KB", "MB", "GB")


class TooLarge(ValueError):  # noqa: N818 (it says what is wrong)
    """The text alone is larger than a mail may be; the message says by how much."""


def plan(mail: Mail, attached: Sequence[str], files: Mapping[str, File], links: Mapping[str, str], max_bytes: int) -> Composed:
    """The mail with its images and files, in at most `max_bytes`.

    `mail` has the HTML as it was written, and no text and files yet. `attached` names the files that go with it, `files` has
    by id those that there still are: without one, an image stays as it was written and a file is left out. `links` has a
    signed link for each. Raises TooLarge.
    """
    planned = _Plan(mail, attached, files, links)
    # With links only. What goes inside instead of one makes the rest shorter.
    least = planned.composed(())
    if least.size_bytes > max_bytes:
        raise TooLarge(f"the mail has {least.size_bytes} bytes without its files, of {max_bytes} that may be sent")
    left = max_bytes - least.size_bytes
    inside = []
    for id in (*planned.shown, *planned.listed):
        size = encoded_size(files[id].size) + PART_BYTES
        if size <= left:
            left -= size
            inside.append(id)
    return planned.composed(inside) if inside else least


class _Plan:
    """A message and its files; `shown` are the images in its text, `listed` the others, by id."""

    def __init__(self, mail: Mail, attached: Sequence[str], files: Mapping[str, File], links: Mapping[str, str]) -> None:
        self._mail = mail
        self._files = files
        self._links = links
        self._references = uploads_shown(mail.html)
        ids = dict.fromkeys(reference.id for reference in self._references)
        self.shown = [id for id in ids if id in files and files[id].content_type.startswith("image/")]
        self.listed = [id for id in dict.fromkeys(attached) if id in files and id not in self.shown]

    def composed(self, inside: Collection[str]) -> Composed:
        """The mail with these files in it and links to the others."""
        content_ids = {id: f"{id}@{self._mail.message_id.rpartition('@')[2]}" for id in self.shown if id in inside}
        urls = {id: f"cid:{content_ids[id]}" if id in content_ids else self._links[id] for id in self.shown}
        linked = [(self._files[id], self._links[id]) for id in self.listed if id not in inside]
        written = with_images(self._mail.html, self._references, urls)
        files = [msgspec.structs.replace(self._files[id], content_id=content_ids.get(id)) for id in inside]
        text = plain_text(self._mail.html, MAX_TEXT_CHARACTERS) + "".join(
            [f"\n{_label(file)}: {url}\n" for file, url in linked]
        )
        items = "".join([f'<p><a href="{html.escape(url)}">{html.escape(_label(file))}</a></p>\n' for file, url in linked])
        return compose(
            msgspec.structs.replace(self._mail, html=f"{written}\n{items}" if items else written, text=text, files=files)
        )


def _label(file: File) -> str:
    """The name and the size of a file, for a person."""
    size, unit = float(file.size), 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{file.filename} ({size:.3g} {_UNITS[unit]})"
