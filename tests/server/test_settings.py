"""Settings: where values come from, and the one line that each mistake is answered with."""

import base64
import re
import tomllib
from pathlib import Path

import pytest

from server.settings import SERVICE_LINK, SettingKey, Settings, SettingsError, load_settings, setting_keys, with_port

POSTGRESQL_URL = (
    "database.url must be postgresql://user:password@host:port/database, "
    "with special characters of its parts as % and two digits"
)
DATABASE_URL = (
    "database.url must be sqlite:/// and the path of a file, such as sqlite:///./data/attachd.db, "
    "or postgresql://user:password@host:port/database"
)


def settings_of(tmp_path: Path, toml: str = "", **environ: str) -> Settings:
    config = tmp_path / "config.toml"
    config.write_text(toml, encoding="utf-8")
    return load_settings(config, environ)


def assert_refused(tmp_path: Path, message: str, toml: str = "", **environ: str) -> None:
    """The settings are refused with exactly this line; CONFIG stands for the path of the file."""
    with pytest.raises(SettingsError) as caught:
        settings_of(tmp_path, toml, **environ)
    assert str(caught.value).replace(str(tmp_path / "config.toml"), "CONFIG") == message


def test_defaults() -> None:
    settings = load_settings(None, {})
    assert settings.server.base_url == "http://127.0.0.1:8080"
    assert settings.database.url == "sqlite:///./data/attachd.db"
    assert settings.upload.directory == Path("data/blobs")
    assert not settings.server.development


def test_the_defaults_are_those_of_the_keys() -> None:
    settings = load_settings(None, {})
    for key in setting_keys():
        if key.name != "server.base_url":  # derived from host and port
            assert getattr(getattr(settings, key.section), key.key) == key.default, key.name


def test_order_of_sources(tmp_path: Path) -> None:
    toml = "[server]\nport = 1001\nhost = '127.0.0.2'\nworkers = 2"
    config = tmp_path / "config.toml"
    config.write_text(toml, encoding="utf-8")
    environ = {"ATTACHD_SERVER_PORT": "1002", "ATTACHD_SERVER_HOST": "127.0.0.3", "HOME": "/root"}
    server = load_settings(config, environ, {"server.port": 1003}).server
    assert (server.port, server.host, server.workers) == (1003, "127.0.0.3", 2)
    assert server.base_url == "http://127.0.0.3:1003"


def test_config_named_by_the_environment(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[server]\nport = 1001", encoding="utf-8")
    assert load_settings(None, {"ATTACHD_CONFIG": str(config)}).server.port == 1001
    assert load_settings(None, {"ATTACHD_CONFIG": ""}).server.port == 8080


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        pytest.param("server.port", "0", 0, id="number"),
        pytest.param("server.request_log", "false", False, id="false"),
        pytest.param("server.request_log", "1", True, id="one-is-true"),
        pytest.param("server.allowed_origins", "", (), id="empty-list"),
        pytest.param(
            "server.allowed_origins", "https://a.example, http://b:81", ("https://a.example", "http://b:81"), id="list"
        ),
        pytest.param("upload.directory", "/srv/blobs", Path("/srv/blobs"), id="path"),
        pytest.param("sweep.retention_days", "0.5", 0.5, id="fraction"),
        pytest.param("auth.session_cookie", "__Host-session", "__Host-session", id="cookie"),
    ],
)
def test_environment(name: str, text: str, value: object) -> None:
    section, key = name.split(".")
    settings = load_settings(None, {f"ATTACHD_{section}_{key}".upper(): text})
    assert getattr(getattr(settings, section), key) == value


@pytest.mark.parametrize("key", setting_keys(), ids=lambda key: key.name)
def test_every_key_has_a_doc_and_a_type_that_is_enforced(key: SettingKey, tmp_path: Path) -> None:
    assert key.doc.endswith(".")
    with pytest.raises(SettingsError, match=rf"{key.name} must be "):
        settings_of(tmp_path, f"[{key.section}]\n{key.key} = {{}}")


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        pytest.param("https://Files.Example.com", "https://files.example.com", id="case"),
        pytest.param("https://files.example.com:443", "https://files.example.com", id="default-https-port"),
        pytest.param("http://files.example.com:80", "http://files.example.com", id="default-http-port"),
        pytest.param("http://[::1]:8080", "http://[::1]:8080", id="ipv6"),
        pytest.param("HTTPS://a.example", "https://a.example", id="upper-scheme"),
    ],
)
def test_origins_are_kept_as_browsers_send_them(text: str, origin: str) -> None:
    environ = {"ATTACHD_SERVER_BASE_URL": text, "ATTACHD_SERVER_ALLOWED_ORIGINS": text}
    server = load_settings(None, environ).server
    assert server.base_url == origin
    assert server.allowed_origins == (origin,)


ORIGIN = 'must be written as scheme, host and port without a path, such as "https://files.example.com"'


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        pytest.param(
            "[server", "CONFIG: not TOML: Expected ']' at the end of a table declaration (at end of document)", id="not-toml"
        ),
        pytest.param(
            "port = 1", "CONFIG: port stands outside a section; write it below one, such as [server]", id="no-section"
        ),
        pytest.param("[servers]\nport = 1", "CONFIG: unknown setting servers.port; did you mean server.port?", id="section"),
        pytest.param("[server]\nprot = 1", "CONFIG: unknown setting server.prot; did you mean server.port?", id="key"),
        pytest.param("[x]\nqqq = 1", "CONFIG: unknown setting x.qqq; the README lists all of them", id="unlike-any"),
        pytest.param(
            "[server]\ndevelopment = true",
            "CONFIG: unknown setting server.development; the README lists all of them",
            id="development-is-no-key",
        ),
        pytest.param(
            "[server]\nport = '80'", "CONFIG: server.port must be a whole number from 0 to 65535, not '80'", id="type"
        ),
        pytest.param(
            "[server]\nport = 8.5", "CONFIG: server.port must be a whole number from 0 to 65535, not 8.5", id="fraction"
        ),
        pytest.param(
            "[server]\nport = true", "CONFIG: server.port must be a whole number from 0 to 65535, not True", id="bool"
        ),
        pytest.param(
            "[server]\nport = 65536", "CONFIG: server.port must be a whole number from 0 to 65535, not 65536", id="port"
        ),
        pytest.param(
            "[server]\nworkers = 0", "CONFIG: server.workers must be a whole number from 1 to 256, not 0", id="workers"
        ),
        pytest.param("[server]\nrequest_log = 1", "CONFIG: server.request_log must be true or false, not 1", id="not-bool"),
        pytest.param(
            "[server]\nallowed_origins = 'https://a.example'",
            "CONFIG: server.allowed_origins must be a list of strings, not 'https://a.example'",
            id="not-list",
        ),
        pytest.param(
            "[sweep]\nretention_days = nan",
            "CONFIG: sweep.retention_days must be a number from 0 to 36500, not nan",
            id="nan",
        ),
        pytest.param(
            "[upload]\nidle_timeout_seconds = 0",
            "CONFIG: upload.idle_timeout_seconds must be a number above 0 to 3600, not 0",
            id="zero-timeout",
        ),
        pytest.param(
            "[auth]\nsession_cookie = 'a b'",
            "CONFIG: auth.session_cookie must be a token of letters, digits and -_.~, not 'a b'",
            id="cookie",
        ),
        pytest.param(
            "[upload]\nbackend = 's3'",
            'upload.s3_bucket must name a bucket when upload.backend is "s3", or the bytes are moved from or to it',
            id="bucket",
        ),
        pytest.param("[upload]\nbackend = 'x'", 'upload.backend: unknown backend \'x\'; write "local" or "s3"', id="backend"),
        pytest.param(
            "[upload]\ndirectory = ''", "upload.directory must name a folder of its own, such as ./data/blobs", id="no-folder"
        ),
        pytest.param(
            "[upload]\nmax_file_size_mb = 5",
            "upload.max_image_size_mb (10) is more than upload.max_file_size_mb (5); lower the first or raise the second",
            id="image-over-file",
        ),
        pytest.param(
            "[database]\nurl = 'postgresql+asyncpg://u:secret@db/x'",
            POSTGRESQL_URL,
            id="postgresql-driver",
        ),
        pytest.param("[database]\nurl = 'postgresql://u:sec/ret@db/x'", POSTGRESQL_URL, id="postgresql-slash-in-password"),
        pytest.param("[database]\nurl = 'postgresql://u:sec@ret@db/x'", POSTGRESQL_URL, id="postgresql-at-in-password"),
        pytest.param("[database]\nurl = 'postgresql://u:123/ret@db/x'", POSTGRESQL_URL, id="postgresql-password-as-port"),
        pytest.param("[database]\nurl = 'postgresql://u:[secret@db/x'", POSTGRESQL_URL, id="postgresql-bracket-in-password"),
        pytest.param("[database]\nurl = 'postgresql://u:s\u2100ret@db/x'", POSTGRESQL_URL, id="postgresql-letters-in-password"),
        pytest.param("[database]\nurl = 'postgresql://u:secret@db:port/x'", POSTGRESQL_URL, id="postgresql-port"),
        pytest.param("[database]\nurl = 'postgresql://u:secret@db'", POSTGRESQL_URL, id="postgresql-without-database"),
        pytest.param(
            "[database]\nurl = 'postgresql://u:secret@db/x?pool=3'",
            "database.url: what follows the ? may be gsslib, host, krbsrvname, options, passfile, password, port, service, "
            "ssl_max_protocol_version, ssl_min_protocol_version, sslcert, sslcrl, sslkey, sslmode, sslnegotiation, "
            "sslpassword, sslrootcert, target_session_attrs, user",
            id="postgresql-parameter",
        ),
        pytest.param(
            "[database]\nurl = 'postgresql://u:secret@db/x?sslmode'",
            "database.url: what follows the ? must be name=value, joined by &",
            id="postgresql-query",
        ),
        pytest.param(
            "[database]\nurl = 'postgresql://u:secret@db/x?sslmode=full'",
            "database.url: sslmode must be one of disable, allow, prefer, require, verify-ca, verify-full",
            id="postgresql-sslmode",
        ),
        pytest.param(
            "[database]\nurl = 'mysql://u:secret@db/x'",
            DATABASE_URL,
            id="database",
        ),
        pytest.param(
            "[database]\nurl = 'sqlite:///:memory:'",
            DATABASE_URL,
            id="memory",
        ),
        pytest.param(
            "[server]\nhost = '0.0.0.0'",
            "server.base_url is needed when server.host is '0.0.0.0'; write the origin that clients use, such as "
            '"https://files.example.com"',
            id="wildcard-without-base-url",
        ),
        pytest.param(
            "[stream]\nping_seconds = 5.5",
            "stream.ping_seconds (5.5) is more than stream.reconnect_after_inactivity_seconds (5), so that clients would "
            "connect again and again; lower the first",
            id="ping-after-inactivity",
        ),
        pytest.param(
            "[stream]\nping_seconds = 0",
            "stream.ping_seconds is 0, so that clients of quiet subscriptions would connect again every 5 s; raise "
            "stream.ping_seconds above 0, or set stream.reconnect_after_inactivity_seconds = 0",
            id="no-ping-before-inactivity",
        ),
        pytest.param("[server]\nbase_url = 'ftp://a'", f"server.base_url {ORIGIN}", id="scheme"),
        pytest.param("[server]\nbase_url = 'a.example'", f"server.base_url {ORIGIN}", id="no-scheme"),
        pytest.param("[server]\nbase_url = 'https://a/b'", f"server.base_url {ORIGIN}", id="base-path"),
        pytest.param("[server]\nbase_url = 'https://u:p@a'", f"server.base_url {ORIGIN}", id="user"),
        pytest.param("[server]\nbase_url = 'https://a b'", f"server.base_url {ORIGIN}", id="space"),
        pytest.param('[server]\nbase_url = "https://a\\nb"', f"server.base_url {ORIGIN}", id="newline"),
        pytest.param("[server]\nallowed_origins = ['https://a/']", f"server.allowed_origins {ORIGIN}", id="slash"),
        pytest.param("[server]\nallowed_origins = ['*']", f"server.allowed_origins {ORIGIN}", id="star"),
        pytest.param("[server]\nallowed_origins = ['null']", f"server.allowed_origins {ORIGIN}", id="null"),
        pytest.param(
            "[server]\nbase_url = 'https://a:b'",
            "server.base_url: Port could not be cast to integer value as 'b'",
            id="bad-port",
        ),
    ],
)
def test_mistakes_in_the_file(tmp_path: Path, toml: str, message: str) -> None:
    assert_refused(tmp_path, message, toml)


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        pytest.param(
            "ATTACHD_SERVER_PROT",
            "1",
            "unknown environment variable ATTACHD_SERVER_PROT; did you mean ATTACHD_SERVER_PORT?",
            id="unknown",
        ),
        pytest.param(
            "ATTACHD_PORT",
            "8080",
            "unknown environment variable ATTACHD_PORT; did you mean ATTACHD_MAIL_PORT?",
            id="no-service-link",
        ),
        pytest.param(
            "ATTACHD_SERVER_DEVELOPMENT",
            "1",
            "unknown environment variable ATTACHD_SERVER_DEVELOPMENT; the README lists all of them",
            id="development-has-no-variable",
        ),
        pytest.param(
            "ATTACHD_SERVER_PORT",
            "eighty",
            "ATTACHD_SERVER_PORT must be a whole number from 0 to 65535, not 'eighty'",
            id="type",
        ),
        pytest.param(
            "ATTACHD_SERVER_PORT", "", "ATTACHD_SERVER_PORT must be a whole number from 0 to 65535, not ''", id="empty"
        ),
        pytest.param(
            "ATTACHD_SERVER_REQUEST_LOG", "maybe", "ATTACHD_SERVER_REQUEST_LOG must be true or false, not 'maybe'", id="bool"
        ),
    ],
)
def test_mistakes_in_the_environment(tmp_path: Path, variable: str, text: str, message: str) -> None:
    assert_refused(tmp_path, message, **{variable: text})


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("ATTACHD_SERVICE_HOST", "10.0.0.1"),
        ("ATTACHD_SERVICE_PORT", "8080"),
        ("ATTACHD_SERVICE_PORT_HTTP", "8080"),
        ("ATTACHD_PORT", "tcp://10.0.0.1:8080"),
        ("ATTACHD_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("ATTACHD_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("ATTACHD_PORT_8080_TCP_PORT", "8080"),
        ("ATTACHD_PORT_8080_TCP_PROTO", "tcp"),
        ("ATTACHD_PORT_53_UDP", "udp://10.0.0.1:53"),
        ("ATTACHD_SERVER_PORT", "tcp://10.0.0.1:8080"),
        ("ATTACHD_SERVER_SERVICE_HOST", "10.0.0.1"),
        ("ATTACHD_SERVER_PORT_8080_SCTP", "sctp://10.0.0.1:8080"),
        ("ATTACHD_DATABASE_PORT", "tcp://10.0.0.1:5432"),
    ],
)
def test_service_links_of_kubernetes_are_no_settings(tmp_path: Path, variable: str, text: str) -> None:
    assert settings_of(tmp_path, **{variable: text}) == load_settings(None, {})


def test_no_setting_is_taken_for_a_service_link() -> None:
    assert [key.name for key in setting_keys() if SERVICE_LINK.fullmatch(key.variable)] == []


def test_no_pings_where_nobody_waits_for_them(tmp_path: Path) -> None:
    toml = "[stream]\nping_seconds = 0\nreconnect_after_inactivity_seconds = 0"
    assert settings_of(tmp_path, toml).stream.ping_seconds == 0


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"missing\.toml: No such file or directory"):
        load_settings(tmp_path / "missing.toml", {})


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_bytes(b"[server]\nhost = '\xff'")
    with pytest.raises(SettingsError, match="not TOML"):
        load_settings(config, {})


def test_with_port() -> None:
    settings = with_port(load_settings(None, {"ATTACHD_SERVER_PORT": "0"}), 4321)
    assert (settings.server.port, settings.server.base_url) == (4321, "http://127.0.0.1:4321")
    chosen = {"ATTACHD_SERVER_PORT": "0", "ATTACHD_SERVER_BASE_URL": "https://a.example"}
    assert with_port(load_settings(None, chosen), 4321).server.base_url == "https://a.example"


def test_the_example_file_is_the_defaults(tmp_path: Path) -> None:
    """Every key stands in it, commented out, with its default and its doc."""
    text = (Path(__file__).parents[2] / "config.example.toml").read_text(encoding="utf-8")
    toml = re.sub(r"^#(?=\w+ = )", "", text, flags=re.MULTILINE)
    assert settings_of(tmp_path, toml) == load_settings(None, {})
    sections = tomllib.loads(toml)
    assert {f"{section}.{key}" for section, keys in sections.items() for key in keys} == {key.name for key in setting_keys()}
    for key in setting_keys():
        assert f"# {key.doc}\n#{key.key} = " in text, key.name


SIGNING_SECRET = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        pytest.param('["a:c2hvcnQ="]', "signing.keys, key 1: the secret of the key a is shorter than 32 bytes", id="short"),
        pytest.param(f'["a:{SIGNING_SECRET}", "x"]', "signing.keys, key 2: a key is written kid:base64secret", id="no-id"),
        pytest.param(f'["a:{SIGNING_SECRET}", "a:{SIGNING_SECRET}"]', "signing.keys has two keys with the id a", id="twice"),
        pytest.param(f'["a:{SIGNING_SECRET}", 1]', "signing.keys must be a list of strings", id="not-strings"),
        pytest.param(f'"a:{SIGNING_SECRET}"', "signing.keys must be a list of strings", id="not-a-list"),
    ],
)
def test_signing_keys_that_cannot_be_used_are_named_and_not_shown(tmp_path: Path, keys: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        settings_of(tmp_path, f"[signing]\nkeys = {keys}\n")
    assert SIGNING_SECRET not in str(caught.value)
    assert "c2hvcnQ" not in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('host = "x"', "mail.sender is needed with mail.host"),
        ('sender = "x"', "mail.sender: 'x' is not a mail address"),
        ('security = "ssl"', 'mail.security: unknown \'ssl\'; write "starttls", "tls" or "none"'),
        ('username = "x"', "mail.username and mail.password are needed together"),
        ('password = "hunter2"', "mail.username and mail.password are needed together"),
        (
            'host = "x"\nsender = "a@b.c"\nsecurity = "none"\nusername = "x"\npassword = "hunter2"',
            'mail.security = "none" would',
        ),
        ("password = 2", "mail.password must be a string"),
        ("lease_seconds = 0.5", "mail.lease_seconds must be a number from 1 to 3600, not 0.5"),
    ],
)
def test_settings_of_mail_that_cannot_be_used_are_named(tmp_path: Path, lines: str, message: str) -> None:
    (tmp_path / "config.toml").write_text(f"[mail]\n{lines}\n", encoding="utf-8")
    with pytest.raises(SettingsError) as raised:
        load_settings(tmp_path / "config.toml", {})
    assert message in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_a_relay_on_this_machine_may_take_a_password_in_the_clear(tmp_path: Path) -> None:
    lines = 'host = "127.0.0.1"\nsender = "Support <a@b.c>"\nsecurity = "none"\nusername = "x"\npassword = "y"\n'
    (tmp_path / "config.toml").write_text(f"[mail]\n{lines}", encoding="utf-8")
    assert load_settings(tmp_path / "config.toml", {}).mail.sender == "Support <a@b.c>"


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        pytest.param(
            '[widget]\nrate_limit = "often"', 'widget.rate_limit must be a number and a time, such as "10/minute"', id="rate"
        ),
        pytest.param(
            '[widget]\naddress_rate_limit = ""', "widget.address_rate_limit must be a number and a time", id="no-rate"
        ),
        pytest.param(
            '[server]\ntrusted_proxies = ["proxy"]', "server.trusted_proxies: 'proxy' does not appear to be", id="proxy"
        ),
        pytest.param(
            '[server]\ntrusted_proxies = ["10.0.0.1/8"]', "server.trusted_proxies: 10.0.0.1/8 has host bits set", id="bits"
        ),
        pytest.param(
            '[rates]\nstorage_url = "mongodb://x"', 'rates.storage_url must be "memory://" or begin with redis://', id="store"
        ),
    ],
)
def test_limits_and_proxies_that_cannot_be_used(tmp_path: Path, toml: str, message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        settings_of(tmp_path, toml)


def test_redis_needs_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(
        SettingsError, match=r"rates\.storage_url: the package redis is missing; install attachd\[redis\]"
    ) as caught:
        settings_of(tmp_path, '[rates]\nstorage_url = "redis://:password@host/0"')
    assert "password" not in str(caught.value)
