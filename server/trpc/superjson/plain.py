"""Which output types never need an annotation, so that the server may encode them without a walk.

`int` counts as plain: ours are sizes and counts, far below 2**53, beyond which `serialize` would write a bigint. An
int that may be larger is declared with a bound beyond that, such as `Annotated[int, Meta(le=2**62)]`. `float` does
not, because of NaN and the infinities.
"""

from typing import Any, Final

from msgspec import UnsetType, inspect

_MAX_SAFE_INTEGER: Final = 2**53 - 1
# Strings and null on the wire, whatever the value.
_PLAIN: Final = (
    inspect.NoneType,
    inspect.BoolType,
    inspect.StrType,
    inspect.UUIDType,
    inspect.DecimalType,
    inspect.DateType,
    inspect.TimeType,
    inspect.TimeDeltaType,
    inspect.EnumType,
    inspect.LiteralType,
)


def is_plain(annotation: Any) -> bool:
    """Whether values of this type are, as msgspec encodes them, all that superjson would say.

    Struct members that may be UNSET are plain: unset ones are left out. Raises TypeError for a type msgspec does not know.
    """
    if annotation is UnsetType:
        return False
    todo: list[inspect.Type] = [inspect.type_info(annotation)]
    seen: set[int] = set()
    for info in todo:
        parts = _parts(info)
        if parts is None:
            return False
        # A recursive type contains itself: it is plain if everything else in it is.
        todo.extend(part for part in parts if id(part) not in seen)
        seen.update(map(id, parts))
    return True


def _parts(info: inspect.Type) -> list[inspect.Type] | None:
    """The types that decide whether this one is plain; None if it is not."""
    match info:
        case inspect.IntType():
            bounds = (info.ge, info.gt, info.le, info.lt)
            return [] if all(bound is None or abs(bound) <= _MAX_SAFE_INTEGER for bound in bounds) else None
        case inspect.ListType() | inspect.VarTupleType():
            return [info.item_type]
        case inspect.TupleType():
            return list(info.item_types)
        case inspect.UnionType():
            return list(info.types)
        case inspect.DictType():
            return [info.value_type] if isinstance(info.key_type, inspect.StrType) else None
        case inspect.StructType() | inspect.DataclassType() | inspect.TypedDictType() | inspect.NamedTupleType():
            return [field.type for field in info.fields]
        case inspect.Metadata():
            return [info.type]
        case _:
            return [] if isinstance(info, _PLAIN) else None
