"""Blobs in a bucket of an S3-compatible store.

Rules:
1. A blob is visible under its key only when the store has all of it: one PutObject up to a part, a multipart upload above. What
   the store says it got is compared with what was sent; another answer is a failed upload.
2. Nothing waits in memory for a part to be whole: bytes are hashed and spooled into a file without a name as they come, and a
   part is sent from there. So neither slow clients nor large files take memory, and a call can be made again.
3. Calls block, so they run in threads: those that read from clients, hash and spool never wait for the store, and those that
   call the store never wait for a client (docs/decisions/0028).
4. Every wait ends: connecting, reading, attempts, and what a call may take with its wait for a thread, are limited.
5. What a failed upload left is removed after the calls that are under way; what cannot be removed, sweep finds.

boto3 takes 25 MB and a third of a second to import: this package is imported when a store is opened that is on S3.
"""

from storage.s3.blobs import S3Blobs

__all__ = ["S3Blobs"]
