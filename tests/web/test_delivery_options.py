from pathlib import Path

from ..agent.conftest import AGENT
from ..conftest import Api


def values(api: Api) -> list[str]:
    platforms = api.get("/api/crons/delivery-options")["platforms"]
    assert all(set(platform) == {"value", "label"} and platform["label"] for platform in platforms)
    return [platform["value"] for platform in platforms]


def test_without_an_agent_the_usual_targets_are_offered(api: Api, root: Path) -> None:
    (root / "oscron.toml").write_text('[exec]\nagent = "none"\n')
    offered = values(api)
    assert offered[:2] == ["local", "origin"]
    assert {"telegram", "discord", "slack", "signal", "matrix", "feishu"} <= set(offered)


def test_an_agent_offers_its_connected_platforms(api: Api, root: Path) -> None:
    (root / "oscron.toml").write_text(f'[exec]\nagent = "{AGENT}/hermes"\n')
    assert values(api) == ["local", "origin"]
    (root / ".env").write_text("TELEGRAM_BOT_TOKEN=123456:abcdefghijklmnopqrstuvwxyzABCDEFGHI\n")
    assert values(api) == ["local", "origin", "telegram"]
