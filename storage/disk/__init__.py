"""Blobs in a folder of the local disk.

Rules:
1. A blob is visible under its key only when all of it is on the disk: temporary file beside the target, fsync, rename,
   fsync of the folder (rename is atomic, but durable only with the folder's fsync; fsync(2), rename(2)).
2. Disk work runs in worker threads, one hop for `CHUNK` bytes; the hash is taken in the same hop. While a chunk is being
   written the next may come in, so a writer holds at most two. Files that end at the same time share a hop and the fsync of
   their folder.
3. A read first asks for what is in memory already (preadv2(2) with RWF_NOWAIT, Linux), which needs no thread; what would
   wait for the disk goes to one.
4. A descriptor is closed only when no worker thread uses it: its number would be given to another file.
"""

from storage.disk.blobs import DiskBlobs
from storage.disk.exclusive import exclusive
from storage.disk.sync import fsync
from storage.disk.writer import CHUNK

__all__ = ["CHUNK", "DiskBlobs", "exclusive", "fsync"]
