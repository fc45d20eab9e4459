"""What `fsck` and `backup --verify` find, as a line for people."""

from storage import Finding, FindingKind

_WHAT: dict[FindingKind, str] = {
    "missing": "there are no bytes",
    "quarantined": "the bytes lie in quarantine",
    "unclaimed": "no attachment claims these {found} bytes",
    "unfinished": "an upload was never finished, {found} bytes",
    "size": "{found} bytes, expected {expected}",
    "checksum": "SHA-256 {found}, expected {expected}",
    "unreadable": "the bytes cannot be read",
    "usage": "counted {found}, expected {expected}",
}


def finding_line(finding: Finding) -> str:
    """A finding for people."""
    subject = finding.key or f"organization {finding.organization}"
    if finding.attachment:
        subject += f" of {'deleted ' if finding.deleted else ''}attachment {finding.attachment}"
    what = _WHAT[finding.finding].format(found=finding.found, expected=finding.expected)
    age = f", {finding.age_s} s old" if finding.age_s else ""
    return f"{finding.finding} {subject}: {what}{age}{' (repaired)' if finding.repaired else ''}"
