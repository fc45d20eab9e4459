"""What can be set of the APIs beside A, a section each. The README's table is tested against it."""

from typing import Annotated

import msgspec
from msgspec import Meta

from storage import EXECUTABLES_AND_SCRIPTS


class FilesSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[files]`: API C."""

    max_image_size_mb: Annotated[int, Meta(ge=1, le=1_048_576, description="MiB of an image at `/files/upload`.")] = 10
    max_audio_size_mb: Annotated[int, Meta(ge=1, le=1_048_576, description="MiB of an audio file there.")] = 50
    max_video_size_mb: Annotated[int, Meta(ge=1, le=1_048_576, description="MiB of a video there.")] = 100
    max_other_size_mb: Annotated[int, Meta(ge=1, le=1_048_576, description="MiB of any other file there.")] = 15
    blocked_extensions: Annotated[
        tuple[str, ...], Meta(description="Extensions of files that are refused there; by default executables and scripts.")
    ] = EXECUTABLES_AND_SCRIPTS
    max_name_characters: Annotated[
        int, Meta(ge=16, le=255, description="Characters that a longer file name is cut to there, its extension kept.")
    ] = 200
    max_user_characters: Annotated[int, Meta(ge=1, le=1024, description="Characters of `user` there.")] = 255
    rate_limit: Annotated[
        str, Meta(description="Requests there of an API key, such as `600/minute`; any number if it is empty.")
    ] = ""


class ChatSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[chat]`: API D."""

    max_file_size_mb: Annotated[int, Meta(ge=1, le=1_048_576, description="MiB of a file at `/v1/chat/upload/`.")] = 25
