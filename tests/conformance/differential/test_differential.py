"""Raw requests to attachd and to @trpc/server 11.25.2: the same answer, but for what `differences` declares."""

from itertools import chain

import pytest

from tests.conformance.differential import (
    corpus_attachments,
    corpus_batches,
    corpus_files,
    corpus_inputs,
    corpus_requests,
    corpus_superjson,
)
from tests.conformance.differential.cases import Case
from tests.conformance.differential.compare import differences
from tests.conformance.differential.differences import DIFFERENCES, declared
from tests.conformance.differential.peers import Answer, Peers

CORPORA = (corpus_requests, corpus_files, corpus_batches, corpus_inputs, corpus_superjson, corpus_attachments)
ALL = list(chain.from_iterable(corpus.CASES.items() for corpus in CORPORA))
CASES: dict[str, Case] = dict(ALL)


def ask(peers: Peers, case: Case) -> tuple[Answer, Answer]:
    """What @trpc/server answers, and attachd."""
    request = case.render(peers.names)
    return peers.ask("@trpc/server", case.method, request), peers.ask("attachd", case.method, request)


def assert_same(peers: Peers, name: str, case: Case) -> None:
    reference, attachd = ask(peers, case)
    found, expected = differences(reference, attachd), declared(name, reference)
    explanation = f"\n@trpc/server: {reference}\nattachd:      {attachd}"
    assert not found - expected, f"undeclared: {sorted(found - expected)}{explanation}"
    assert not expected - found, f"declared, but the same: {sorted(expected - found)}{explanation}"


@pytest.mark.parametrize("name", CASES)
def test_answers_as_trpc(peers: Peers, name: str) -> None:
    assert_same(peers, name, CASES[name])


@pytest.mark.parametrize("name", corpus_attachments.SEQUENCES)
def test_answers_a_sequence_as_trpc(peers: Peers, name: str) -> None:
    for case in corpus_attachments.SEQUENCES[name]:
        assert_same(peers, name, case)


@pytest.mark.parametrize("name", corpus_attachments.RACES)
def test_answers_a_race_as_trpc(peers: Peers, name: str) -> None:
    """Which call wins is the database's choice: PostgreSQL may have a connection at hand for the second one first."""
    answers = ask(peers, corpus_attachments.RACES[name])
    reference, attachd = (answer._replace(body=sorted(answer.body, key=str)) for answer in answers)
    assert not differences(reference, attachd), answers


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    assert len(CASES) == len(ALL) >= 150


def test_every_declared_difference_is_of_a_case() -> None:
    names = [case for difference in DIFFERENCES for case in difference.cases]
    assert set(names) <= CASES.keys()
    assert len(names) == len(set(names))
