"""The plain text of an HTML text, for readers that show none: words, lines, list marks, links and the names of images. Pure."""

import html
import re

from storage.mail.html import TOKEN, attribute

_BLOCKS = frozenset(
    (
        *(
            "address",
            "article",
            "aside",
            "blockquote",
            "body",
            "center",
            "dd",
            "details",
            "dialog",
            "div",
            "dl",
            "dt",
            "fieldset",
        ),
        *("figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "head", "header", "hr", "html", "li"),
        *("main", "nav", "ol", "p", "pre", "section", "table", "tbody", "tfoot", "thead", "tr", "ul"),
    )
)
# With an empty line around them.
_APART = frozenset({"blockquote", "dl", "figure", "h1", "h2", "h3", "h4", "h5", "h6", "ol", "p", "pre", "table", "ul"})
_CELLS = frozenset({"td", "th"})
_BLANKS = re.compile(r"[\t\n\f\r ]+")
_MANY_LINES = re.compile(r"\n{3,}")
_LINKS = ("http://", "https://", "mailto:", "tel:")


def plain_text(text: str, max_characters: int) -> str:
    """What the HTML says, in lines that end with a line feed; what is longer is cut off, and says so."""
    writer = _Writer(max_characters)
    done = 0
    for token in TOKEN.finditer(text):
        writer.words(text[done : token.start()])
        done = token.end()
        match token.lastgroup:
            case "image":
                writer.words(_value(text, token.span("image"), "alt"))
            case "attributes":
                writer.begin(token["start"].lower(), text, token.span("attributes"))
            case "end":
                writer.end(token["end"].lower())
            case _:
                pass
        if writer.is_full:
            break
    else:
        writer.words(text[done:])
    return writer.finish()


def _value(text: str, span: tuple[int, int], name: str) -> str:
    """The value of an attribute as it is written; empty without one."""
    found = attribute(text, span, name)
    return text[slice(*found)] if found else ""


class _Writer:
    """Lines on their way out."""

    def __init__(self, max_characters: int) -> None:
        self._pieces: list[str] = []
        self._left = max_characters
        self._preformatted = 0
        self._links: list[str] = []

    @property
    def is_full(self) -> bool:
        """Whether no more is taken."""
        return self._left < 0

    def words(self, markup: str) -> None:
        """Text with character references."""
        if not markup:
            return
        words = html.unescape(markup) if "&" in markup else markup
        if not self._preformatted:
            words = _BLANKS.sub(" ", words)
            if not self._pieces or self._pieces[-1][-1] in " \n":
                words = words.lstrip(" ")
        self._add(words)

    def begin(self, name: str, text: str, span: tuple[int, int]) -> None:
        """The start tag of that name, whose attributes stand there."""
        if name == "br":
            self._add("\n")
        elif name in _CELLS:
            self._add(" ")
        elif name == "a":
            self._links.append(html.unescape(_value(text, span, "href")).strip())
        if name in _BLOCKS:
            self._break(name)
        if name == "li":
            self._add("- ")
        elif name == "hr":
            self._add("---\n")
        self._preformatted += name == "pre"

    def end(self, name: str) -> None:
        """The end tag of that name."""
        if name == "pre":
            self._preformatted = max(self._preformatted - 1, 0)
        if name == "a" and self._links:
            link = self._links.pop()
            shown = self._pieces[-1].strip() if self._pieces else ""
            if link.startswith(_LINKS) and shown not in (link, link.partition(":")[2]):
                self._add(f" ({link})")
        if name in _BLOCKS:
            self._break(name)

    def _break(self, name: str) -> None:
        self._add("\n\n" if name in _APART else "\n" if self._pieces and self._pieces[-1] not in ("\n", "\n\n") else "")

    def _add(self, piece: str) -> None:
        if piece:
            self._pieces.append(piece)
            self._left -= len(piece)

    def finish(self) -> str:
        """The text."""
        text = "".join(self._pieces)
        if self.is_full:
            text = f"{text[: self._left]}\n\n[…]"
        lines = "\n".join([line.rstrip() for line in text.split("\n")])
        return _MANY_LINES.sub("\n\n", lines).strip("\n") + "\n"
