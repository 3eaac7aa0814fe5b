"""The agent's own gateway beside the timers: nothing fires twice, and with the plugin the gateway fires nothing."""

import contextlib
import datetime
import time
from collections import Counter
from collections.abc import Iterator

from tests.agent.model import Model
from tests.conftest import wait_for
from tests.machine.agents import HERMES, PATH, agent, hermes
from tests.machine.box import Box
from tests.machine.sites import Site, add_account, free_port

WATCH_S = 125.0
"""The gateway's own scheduler looks once a minute."""


@contextlib.contextmanager
def gateway(site: Site) -> Iterator[None]:
    """Run the agent's gateway, as its users do."""
    site.run(f"systemd-run --user --unit=gateway --collect --setenv=PATH=$PATH {HERMES} gateway run")
    wait_for(lambda: '"running"' in site.run(f"cat {site.hermes}/gateway_state.json", check=False).stdout, 60)
    try:
        yield
    finally:
        site.systemctl("stop gateway", check=False)


def sources(site: Site) -> Counter[str]:
    """Return how many runs of the agent each scheduler has begun."""
    return Counter(agent(site, "from cron.executions import list_executions\n"
                               "answer = [run['source'] for run in list_executions(limit=500)]"))


def minutes(site: Site) -> Counter[str]:
    """Return how often the script has run in each minute."""
    return Counter(site.run("cat ran", check=False).stdout.split())


def test_no_occurrence_runs_twice_and_with_the_plugin_the_gateway_runs_none(machine: Box) -> None:
    model = Model()
    add_account(machine, "gerd")
    site = Site(machine, "gerd", free_port(), PATH=PATH)
    site.put(f"{site.hermes}/config.yaml", model.config)
    assert "plugin install" in site.install()
    site.create("date +%H:%M >>~/ran", schedule="* * * * *")
    agent(site, "answer = create_job('Say ping.', '* * * * *')")
    begun = datetime.datetime.now(datetime.UTC)
    with gateway(site):
        wait_for(lambda: site.run(f"cat {site.hermes}/cron/ticker_heartbeat", check=False).stdout, 30)
        status, said = site.doctor()
        assert status == 1 and "the agent's gateway fires these jobs too" in said, said
        assert "plugin install" in said
        time.sleep(WATCH_S)
    _assert_once_each(site, model, begun)

    config = site.run(f"cat {site.hermes}/config.yaml").stdout
    said = site.oscron("plugin install")
    assert "hermes gateway restart" in said
    before, begun = sources(site), datetime.datetime.now(datetime.UTC)
    site.run("rm ran")
    model.calls.clear()
    with gateway(site):
        time.sleep(WATCH_S)
        assert site.doctor()[0] == 0
        assert "oscron" in hermes(site, "cron status")
    _assert_once_each(site, model, begun)
    assert sources(site)["builtin"] == before["builtin"]
    site.oscron("plugin remove")
    assert site.run(f"cat {site.hermes}/config.yaml").stdout == config


def _assert_once_each(site: Site, model: Model, begun: datetime.datetime) -> None:
    """Assert that each job has run once in each whole minute since `begun`."""
    time.sleep(3)  # the last runs end
    whole = [begun + datetime.timedelta(minutes=number) for number in (1, 2)]
    ran, asked = minutes(site), Counter(f"{time.strftime('%H:%M', time.gmtime(call.at))}" for call in model.calls)
    assert set(ran.values()) == {1}, ran
    assert set(asked.values()) == {1}, asked
    for minute in whole:
        assert f"{minute:%H:%M}" in ran and f"{minute:%H:%M}" in asked


def test_with_several_profiles_the_plugin_keeps_the_gateway_from_firing_too(machine: Box) -> None:
    add_account(machine, "paul")
    site = Site(machine, "paul", free_port(), PATH=PATH)
    homes = [site.hermes, f"{site.hermes}/profiles/work"]
    for home in homes:
        site.put(f"{home}/config.yaml", "model: {default: stub}\n")
        site.put(f"{home}/scripts/count.sh", f"date +%H:%M >>{home}/ran")
    site.install()
    assert "WRONG" not in site.oscron("plugin install")
    for home in homes:
        agent(site, "answer = create_job('', '* * * * *', script='count.sh', no_agent=True)", home)
    begun = datetime.datetime.now(datetime.UTC)
    with gateway(site):
        time.sleep(WATCH_S)
        status, said = site.doctor()
        assert status == 0, said
    time.sleep(3)  # the last runs end
    for home in homes:
        assert site.run(f"ls {home}/cron/ticker_heartbeat", check=False).returncode
        assert agent(site, "from cron.executions import list_executions\nanswer = list_executions()", home) == []
        ran = Counter(site.run(f"cat {home}/ran").stdout.split())
        assert set(ran.values()) == {1}, ran
        assert {f"{begun + datetime.timedelta(minutes=number):%H:%M}" for number in (1, 2)} <= ran.keys()
