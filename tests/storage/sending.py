"""Sending files to the store as clients do, with what `createUpload` gave them."""

import httpx

from schemas import CompleteUploadInput, FormUpload, PartsUpload, SentPart

TIMEOUT_S = 60.0


def form_answer(plan: FormUpload | PartsUpload, content: bytes, **fields: str) -> httpx.Response:
    """The store's answer to the form, whose fields may be changed or added to."""
    assert isinstance(plan, FormUpload), "too large for a form"
    return httpx.post(plan.url, data={**plan.fields, **fields}, files={"file": ("any name", content)}, timeout=TIMEOUT_S)


def part_answer(plan: FormUpload | PartsUpload, number: int, content: bytes) -> httpx.Response:
    """The store's answer to a part."""
    assert isinstance(plan, PartsUpload), "small enough for a form"
    return httpx.put(plan.parts[number - 1].url, content=content, timeout=TIMEOUT_S)


def pieces(plan: PartsUpload, content: bytes) -> list[bytes]:
    """The content of each part."""
    starts = [(part.part_number - 1) * plan.part_size for part in plan.parts]
    return [content[start : start + part.size] for start, part in zip(starts, plan.parts, strict=True)]


def send(plan: FormUpload | PartsUpload, content: bytes) -> CompleteUploadInput:
    """Send the whole file; gives what completes the upload."""
    if isinstance(plan, FormUpload):
        assert form_answer(plan, content).is_success
        return CompleteUploadInput(upload_id=plan.upload_id)
    answers = [part_answer(plan, number, piece) for number, piece in enumerate(pieces(plan, content), 1)]
    assert all(answer.is_success for answer in answers), [answer.text for answer in answers]
    parts = [SentPart(part_number=number, etag=answer.headers["etag"]) for number, answer in enumerate(answers, 1)]
    return CompleteUploadInput(upload_id=plan.upload_id, parts=parts)
