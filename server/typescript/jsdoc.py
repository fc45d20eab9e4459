"""Comments and words of TypeScript: JSDoc, names of members, literals."""

import json
import re

_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*\Z")
_LINE_LENGTH = 100
_CODE = re.compile(r"``([^`]+)``")


def comment(text: str, indent: str = "") -> str:
    """`text` as a JSDoc comment with the line end behind it; nothing for an empty one."""
    lines = _CODE.sub(r"`\1`", text.strip()).replace("*/", "*\\/").splitlines()
    if not lines:
        return ""
    if len(lines) == 1:
        return f"{indent}/** {lines[0]} */\n"
    return f"{indent}/**\n" + "".join(f"{indent} * {line}".rstrip() + "\n" for line in lines) + f"{indent} */\n"


def member_name(name: str) -> str:
    """The name as an object type's member: quoted when it is no identifier."""
    return name if _IDENTIFIER.match(name) else json.dumps(name)


def literal(value: object) -> str:
    """The type of exactly this string, number, boolean or null."""
    return json.dumps(value)


def union(types: list[str]) -> str:
    """The union of the types, each once, null and undefined last; `never` of none, `unknown` when it swallows the others."""
    distinct = list(dict.fromkeys(types))
    if "unknown" in distinct:
        return "unknown"
    distinct.sort(key=("null", "undefined").__contains__)
    distinct.sort(key="undefined".__eq__)
    return " | ".join(distinct) or "never"


def array_of(item: str) -> str:
    """The array of the type."""
    return f"{item}[]" if re.fullmatch(r"[\w.]+(\[\])*", item) else f"Array<{item}>"


def alias(name: str, types: list[str]) -> str:
    """The declaration of a union, on lines of its own when it is long."""
    body = union(types)
    if len(body) + len(name) > _LINE_LENGTH:
        body = "".join(f"\n  | {type_}" for type_ in dict.fromkeys(types))
        return f"export type {name} ={body};\n"
    return f"export type {name} = {body};\n"
