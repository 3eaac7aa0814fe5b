from pathlib import Path

import pytest

from hermes_oscron import config
from hermes_oscron.config import Config, ConfigError


def load(root: Path, text: str) -> Config:
    (root / "oscron.toml").write_text(text)
    return config.load(str(root))


def test_without_a_file_every_setting_has_its_default(root: Path) -> None:
    assert config.load(str(root)) == load(root, "") == Config()
    assert Config() == Config(agent="auto", command=(), timeout=0.0, auth="token", hosts=(), scheduler="auto",
                              listen="")


def test_every_setting_is_read(root: Path) -> None:
    assert load(root, """
        [exec]
        agent = "/opt/hermes/bin/hermes"
        agent_worker = false
        command = ["claude", "-p"]
        timeout = 90
        network_wait = 0
        max_parallel = 3
        path = "/opt/bin:/usr/bin"
        environment = {LANG = "C.UTF-8"}
        [web]
        auth = "none"
        hosts = ["jobs.example.org", "10.0.0.1"]
        listen = "unix:/run/hermes-oscron"
        [scheduler]
        kind = "foreground"
    """) == Config("/opt/hermes/bin/hermes", ("claude", "-p"), 90.0, "/opt/bin:/usr/bin",
                    {"LANG": "C.UTF-8"}, 0.0, 3, "none", ("jobs.example.org", "10.0.0.1"),
                    "foreground", "unix:/run/hermes-oscron", False)


def test_a_policy_has_the_keys_of_jobs_and_that_of_a_profile_comes_first(root: Path) -> None:
    settings = load(root, """
        [policy]
        timeout = "15m"
        stop_timeout = 5
        [profile.work.policy]
        timeout = 60
    """)
    assert settings.policy_of("default") == {"timeout": 900, "stop_timeout": 5}
    assert settings.policy_of("work") == {"timeout": 60, "stop_timeout": 5}


@pytest.mark.parametrize(("text", "named"), [
    ("policy.timeout = 0", "policy.timeout"), ("policy.nosuch = 1", "policy.nosuch"), ("policy = 5", "policy"),
    ("profile.work.policy.timeout = 'soon'", "profile.work.policy.timeout"), ("profile.work = 5", "profile.work"),
    ("profile.work.timeout = 5", "profile.work"), ("profile = 5", "profile")])
def test_a_policy_is_checked_as_that_of_a_job(root: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=rf"oscron\.toml: .*{named}"):
        load(root, text)


def test_while_the_file_is_damaged_the_last_policy_holds(root: Path) -> None:
    load(root, "policy.timeout = 60")
    assert config.policy_of(str(root), "default") == {"timeout": 60}
    (root / "oscron.toml").write_text("[policy")
    assert config.policy_of(str(root), "default") == {"timeout": 60}
    load(root, "")
    assert config.policy_of(str(root), "default") == {}


def test_an_unknown_setting_is_refused_by_its_name(root: Path) -> None:
    for text, name in (("[exec]\ncomand = ['x']", "exec.comand"), ("[wep]\nauth = 'none'", "wep.auth"),
                       ("auth = 'none'", "'auth'"), ("exec = 5", "'exec'")):
        with pytest.raises(ConfigError, match=name) as error:
            load(root, text)
        assert str(root / "oscron.toml") in str(error.value)


def test_a_wrong_value_is_refused_with_the_accepted_values(root: Path) -> None:
    for text in ('exec.command = "claude -p"', "exec.command = []", "exec.command = ['']", "exec.command = [1]",
                 "exec.timeout = 0", "exec.timeout = -5", "exec.timeout = '1h'", "exec.timeout = true",
                 "exec.timeout = nan", "exec.max_parallel = -1", "exec.max_parallel = 1.5",
                 "exec.max_parallel = true", "web.auth = 'None'", "web.auth = false", "web.hosts = 'x'",
                 "web.listen = '127.0.0.1:80'", "web.listen = 'unix:run'", "web.listen = 5",
                 "scheduler.kind = 'cron.d'"):
        with pytest.raises(ConfigError, match=rf"oscron\.toml: {text.split(' ')[0]} takes "):
            load(root, text)


def test_a_timeout_without_end_is_refused(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"exec\.timeout takes "):
        load(root, "exec.timeout = inf")


def test_a_file_that_is_not_toml_is_named(root: Path) -> None:
    for text in ("[exec", "a = ", "[a]\n[a]"):
        with pytest.raises(ConfigError, match=r"oscron\.toml cannot be read"):
            load(root, text)


def test_a_file_that_is_not_text_is_named(root: Path) -> None:
    (root / "oscron.toml").write_bytes(b"\xff\xfe[\x00e\x00")
    with pytest.raises(ConfigError, match=r"oscron\.toml cannot be read"):
        config.load(str(root))


def test_a_file_that_cannot_be_checked_is_not_taken_for_a_missing_one(root: Path) -> None:
    (root / "oscron.toml").symlink_to("oscron.toml")
    with pytest.raises(ConfigError, match=r"oscron\.toml cannot be read: Too many levels of symbolic links"):
        config.load(str(root))
