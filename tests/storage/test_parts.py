"""Which parts make a file: every one, once, with its size."""

import pytest

from schemas import Code, SentPart, ServiceError
from storage.incoming import PartInfo
from storage.sealing import chosen_parts, part_sizes

THERE = [PartInfo(1, "a", 10), PartInfo(2, "b", 10), PartInfo(3, "c", 4)]


def sent(*parts: tuple[int, str]) -> list[SentPart]:
    return [SentPart(part_number=number, etag=etag) for number, etag in parts]


@pytest.mark.parametrize(
    ("size", "sizes"),
    [
        pytest.param(1, [1], id="a byte"),
        pytest.param(10, [10], id="one part"),
        pytest.param(11, [10, 1], id="one byte more"),
        pytest.param(20, [10, 10], id="two whole parts"),
        pytest.param(24, [10, 10, 4], id="a shorter last part"),
    ],
)
def test_all_parts_but_the_last_are_of_one_size(size: int, sizes: list[int]) -> None:
    assert part_sizes(size, 10) == sizes


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([(1, "a"), (2, "b"), (3, "c")], id="in order"),
        pytest.param([(3, "c"), (1, "a"), (2, "b")], id="in any order"),
        pytest.param([(1, '"a"'), (2, '"b"'), (3, '"c"')], id="with the quotes of the header"),
        pytest.param([(1, "old"), (1, "a"), (2, "b"), (3, "c")], id="one that was sent twice, the last counts"),
    ],
)
def test_parts_that_are_all_there_are_chosen(parts: list[tuple[int, str]]) -> None:
    assert chosen_parts([10, 10, 4], sent(*parts), THERE) == THERE


def test_the_part_that_the_client_names_is_chosen_of_two_with_its_number() -> None:
    again = [PartInfo(1, "x", 10), *THERE]
    assert chosen_parts([10, 10, 4], sent((1, "x"), (2, "b"), (3, "c")), again)[0] == PartInfo(1, "x", 10)


@pytest.mark.parametrize(
    ("parts", "there", "words"),
    [
        pytest.param([], THERE, "part 1 of 3 is not among", id="none"),
        pytest.param([(1, "a"), (3, "c")], THERE, "part 2 of 3 is not among", id="one is missing"),
        pytest.param([(1, "a"), (2, "b")], THERE, "part 3 of 3 is not among", id="the last is missing"),
        pytest.param([(1, "a"), (2, "forged"), (3, "c")], THERE, "part 2 with the ETag forged is not", id="a forged ETag"),
        pytest.param([(1, "b"), (2, "a"), (3, "c")], THERE, "part 1 with the ETag b is not", id="ETags changed over"),
        pytest.param([(1, "a"), (2, "b"), (3, "c")], THERE[:2], "part 3 with the ETag c is not", id="not sent"),
        pytest.param(
            [(1, "a"), (2, "b"), (3, "c")], [*THERE[:2], PartInfo(3, "c", 5)], "its 4 bytes: send it", id="of another size"
        ),
        pytest.param([(1, "a"), (2, "b"), (3, "c"), (4, "d")], THERE, "has 3 parts, but 4 was named", id="one too many"),
    ],
)
def test_other_parts_are_not_a_file(parts: list[tuple[int, str]], there: list[PartInfo], words: str) -> None:
    with pytest.raises(ServiceError, match=words) as caught:
        chosen_parts([10, 10, 4], sent(*parts), there)
    assert caught.value.code is Code.PRECONDITION_FAILED
