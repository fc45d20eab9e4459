"""docs/operations.md has a row for every fault, and every test of a fault belongs to a row."""

import ast
from pathlib import Path

from tests.running import ROOT

# The first column of the table "When something fails", and the tests behind what it says.
ROWS = {
    "the disk of the files is full, or over its quota": (
        "test_disk.test_upload",
        "test_disk.test_every_api",
        "test_disk.test_close",
        "test_mounted.test_files_full",
        "test_mounted.test_files_fill_up_in_mid_upload",
        "test_s3.test_spool_full",
    ),
    "the disk of the files is read-only, or has errors": (
        "test_disk.test_upload",
        "test_disk.test_first_upload_of_an_organization",
        "test_downloads.test_readiness",
        "test_mounted.test_files_read_only",
    ),
    "the disk of the files stalls": ("test_downloads.test_stalled_disk",),
    "a file cannot be read": (
        "test_downloads.test_first_bytes",
        "test_downloads.test_later_bytes",
        "test_downloads.test_metadata_needs_no_bytes",
    ),
    "SQLite's disk is full, or has errors": (
        "test_sqlite.test_upload",
        "test_sqlite.test_mutation",
        "test_sqlite.test_query",
        "test_sqlite.test_a_message_is_kept_whole_or_not",
        "test_mounted.test_database_full",
    ),
    "another process writes to SQLite and does not end": ("test_sqlite.test_upload_while_another_process_writes",),
    "PostgreSQL is gone": ("test_postgresql.test_every_api", "test_postgresql.test_every_procedure"),
    "PostgreSQL does not answer": (
        "test_postgresql.test_upload",
        "test_postgresql.test_mutation",
        "test_postgresql.test_every_api",
        "test_postgresql.test_every_procedure",
        "test_postgresql.test_lost_connections",
        "test_postgresql.test_slow",
    ),
    "PostgreSQL is restarted": (
        "test_postgresql.test_restarted_in_mid_request",
        "test_postgresql.test_mutation_that_fails_once",
    ),
    "PostgreSQL refuses: full, a standby, shutting down": ("test_postgresql.test_upload", "test_postgresql.test_mutation"),
    "the answer to a commit is lost": (
        "test_postgresql.test_upload",
        "test_postgresql.test_mutation_whose_commit_is_not_heard_of",
    ),
    "S3 answers 500, 503, nothing, or breaks connections": (
        "test_s3.test_upload",
        "test_s3.test_upload_that_fails_once",
        "test_s3.test_every_api",
        "test_s3.test_parts_that_cannot_be_aborted",
        "test_s3.test_download",
        "test_s3.test_no_store",
    ),
    "S3 says it has other bytes than were sent": (
        "test_s3.test_upload",
        "test_s3.test_an_object_with_another_etag_is_looked_at",
    ),
    "S3 breaks off in a download": (
        "test_s3.test_a_download_is_one_get",
        "test_s3.test_download_that_fails_once",
        "test_s3.test_download_that_ends_early",
    ),
    "S3 fails while a direct upload is completed": (
        "test_direct.test_complete",
        "test_direct.test_complete_that_fails_once",
        "test_direct.test_what_was_sent_cannot_be_removed",
        "test_direct.test_create",
        "test_direct.test_abort",
    ),
    "S3 fails in a sweep": ("test_s3.test_sweep",),
    "no descriptors are left": (
        "test_descriptors.test_upload_over_an_open_connection",
        "test_descriptors.test_new_connections_are_told_so",
        "test_descriptors.test_not_even_for_a_connection",
    ),
    "the process is killed in an upload": ("test_killed.test_upload", "test_killed_remote.test_upload"),
    "the database fails under subscriptions": (
        "test_subscriptions.test_reads_fail_meanwhile",
        "test_subscriptions.test_who_comes_while_reads_fail_comes_again",
        "test_postgresql.test_subscriptions",
    ),
    "the database fails while mail is sent": ("test_mail.test_between_the_mail_and_its_note",),
}


def test_every_fault_is_in_the_table() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = text.split("\n## When something fails\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.split(" | ")[0].removeprefix("| ") for line in section.splitlines() if line.startswith("| ")]
    assert rows == ["what fails", *ROWS]


def test_every_test_of_a_fault_is_behind_a_row() -> None:
    tests = {
        f"{path.stem}.{node.name}"
        for path in Path(__file__).parent.glob("test_*.py")
        if path != Path(__file__)
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
    assert {test for behind in ROWS.values() for test in behind} == tests
