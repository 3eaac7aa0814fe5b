"""preload.py: do once, in the agent worker, what each run of the Hermes agent would do before it calls its model.

Raises an exception if the agent cannot be imported.
"""

import contextlib
import importlib
import logging
import os

MODULES = ("cron.scheduler", "cron.scheduler_provider", "cron.executions")
OF_MOST_RUNS = (
    "hermes_logging", "run_agent", "hermes_state", "cron.monitor", "openai.resources", "httpcore", "unittest.mock",
    "croniter", "edge_tts", "nemo_relay", "snowballstemmer", "agent.agent_init", "agent.agent_runtime_helpers",
    "agent.anthropic_adapter", "agent.chat_completion_helpers", "agent.conversation_loop", "agent.image_routing",
    "agent.models_dev", "agent.ssl_verify", "agent.system_prompt", "agent.transports.anthropic",
    "agent.transports.bedrock", "agent.transports.chat_completions", "agent.transports.codex", "agent.turn_finalizer",
    "hermes_cli.models", "hermes_cli.profiles", "hermes_cli.runtime_provider", "hermes_cli.tools_config",
    "plugins.plugin_loader", "tools.checkpoint_manager", "tools.computer_use.cua_backend", "tools.mcp_tool",
    "tools.schema_sanitizer", "tools.tool_search")
"""Modules that a run imports when it needs them, which takes it 0.4 to 1 s of CPU. Not every agent has all of them."""
CRON_VARIABLE = "HERMES_CRON_SESSION"
"""The agent sets it in its runs, and some of its checks of tools depend on it."""


def preload() -> None:
    for name in MODULES:
        importlib.import_module(name)
    for name in OF_MOST_RUNS:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    with contextlib.suppress(ImportError, AttributeError):  # 1 s of CPU in a thread, of which each run has the answer
        importlib.import_module("tools.env_probe").get_environment_probe_line()
    with contextlib.suppress(Exception):  # then each run does it
        _check_tools()


def _check_tools() -> None:
    """Make the agent check which tools its runs can use: 0.5 s of CPU. It keeps the answer, as its gateway does."""
    from cron import scheduler
    from hermes_cli.config import load_config
    from model_tools import get_tool_definitions

    config = load_config()
    os.environ[CRON_VARIABLE] = "1"
    logging.disable()
    try:
        get_tool_definitions(scheduler._resolve_cron_enabled_toolsets({}, config),
                             scheduler._resolve_cron_disabled_toolsets(config), quiet_mode=True)
    finally:
        logging.disable(logging.NOTSET)
        del os.environ[CRON_VARIABLE]


if __name__ == "preload":
    preload()
