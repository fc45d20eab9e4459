"""Commands that tests give."""

USER, ORGANIZATION = "0191c2b0-0000-7000-8000-000000000001", "0191C2B0-0000-7000-8000-000000000002"
SESSION = ("session", "create", "--user", USER, "--organization", ORGANIZATION, "--role", "member")
KEY = ("key", "create", "--organization", ORGANIZATION, "--role", "admin", "--name", "billing robot")
