"""The command that runs a job: the agent, a script of the job's own, or the command in the configuration."""

import math
import os
import re
import time

from .. import config, installation
from ..errors import cause
from ..files import open_regular
from ..hermes import agent, agent_settings
from ..hermes.home import Home, ProfileNotFound, ScriptPathError, execution_home, home_of, script_path
from ..jobs.record import Record, is_delivered, next_run_of
from .environment import (
    AGENT_ONLY,
    NoExecutor,
    agent_python,
    env_file_variables,
    job_environment,
    needs_agent,
)
from .process import Command

DEFAULT_TIMEOUT_S = 3600.0
"""The time limit of scripts, as in the agent, and of the command of [exec]."""
MAX_NAME_CHARS = 4096
"""The longest name that a job's process gets: a variable of 128 KiB would prevent its start (execve(2))."""
OF_AGENT = ("failure_deliver", "attach_to_session", "skills", "enabled_toolsets", "context_from", "model", "provider",
            "base_url", "reasoning_effort")
"""Fields beside `deliver` that have an effect only in the agent."""
NOT_BY_AGENT = ("success_exit_codes",)
"""Keys of the policy that have no effect in the agent."""
OTHER_SCRIPT = "'hermes-oscron update ID --script NAME' names another one."
OTHER_PYTHON = "'hermes-oscron update ID --interpreter PATH' names another one."
MAX_SHEBANG_BYTES = 256
SIMPLE_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.+-]*"
PYTHON_NAME = r"(?i)python(?:\d+(?:\.\d+)*)?"


def command_for(record: Record, home: Home, settings: config.Config, scheduled: bool = False,
                will_run: bool = True) -> Command:
    """Return the command of a manual or `scheduled` run of the job of `record`, with its policy. Raises NoExecutor."""
    command = _command_without_policy(record, home, settings, scheduled, will_run)
    if not record.get("policy") and not settings.policy_of(home.profile):
        return command
    from .policy import with_policy

    return with_policy(command, record, home, settings, scheduled, will_run)


def _command_without_policy(record: Record, home: Home, settings: config.Config, scheduled: bool,
                            will_run: bool) -> Command:
    """Return the command of a manual or `scheduled` run of the job of `record`, which `home` owns. Raises NoExecutor.

    A script runs by itself, unless its output must be delivered, which only the agent can do. A prompt runs in the
    agent, unless the configuration names another command for prompts. If it `will_run`, the environment of a script is
    exactly as the agent makes it, which may mean to ask the agent.
    """
    place = _execution_home(record, home) if will_run else execution_home(home, record.get("profile"))
    environment = {**job_environment(settings), "HERMES_HOME": place.path}
    if needs_agent(record, settings):
        if python := agent_python(home, settings):
            # the agent ends a run that is inactive; one that is busy has no time limit, unless [exec] sets one
            argv = agent.fire_command(python, str(record["id"]), home, _due(record) if scheduled else None)
            return Command(argv, b"", place.path, {**environment, **_identity(record)}, by_agent=True,
                           timeout=settings.timeout or math.inf, worker=place.profile if settings.agent_worker else "")
        _require_no_agent(record, home)
    environment |= env_file_variables(place, environment)
    if record.get("no_agent"):
        command = _script_command(record, place, environment, agent_python(home, settings), will_run)
        return command._replace(timeout=settings.timeout or _script_timeout(place, environment))
    prompt = _prompt(record).encode("utf-8", "replace")
    return Command(list(settings.command), prompt, _directory(record, place.path), {**environment, **_identity(record)},
                   timeout=settings.timeout or DEFAULT_TIMEOUT_S)


def job_path(home: Home, settings: config.Config) -> tuple[str, str]:
    """Return the PATH of the jobs of `home`, and what sets it. Raises NoExecutor."""
    if path := env_file_variables(home, job_environment(settings)).get("PATH"):
        return path, f"{home.path}/.env"
    if path := settings.path or settings.environment.get("PATH", ""):
        return path, f"[exec] of {home.root}/oscron.toml"
    if path := installation.read_settings().get("PATH", ""):
        return path, "the installation"
    return os.environ.get("PATH", os.defpath), "the environment of this command"


def script_python(home: Home, settings: config.Config) -> tuple[str, str]:
    """Return the Python of the scripts of `home`, and what sets it. Raises NoExecutor."""
    path, _ = job_path(home, settings)
    if python := agent_python(home, settings):
        from ..hermes import agent_facts

        environment = {**job_environment(settings), "PATH": path}
        try:
            return agent_facts.facts(python, home, environment, any_environment=True).python[0], "the agent's"
        except agent_facts.AgentBroken as error:
            raise NoExecutor(str(error)) from None
    found = _which("python3", path)
    if not found:
        raise NoExecutor(f"There is no python3 in {path}, the PATH of the jobs.")
    return found, "the first in PATH; there is no agent"


def why_unrunnable(record: Record, home: Home, settings: config.Config) -> str | None:
    """Return why every run of the job of `record` fails on this machine; None if no reason is known."""
    place = execution_home(home, record.get("profile"))
    try:
        command = command_for(record, home, settings, will_run=False)
        path, _ = job_path(place, settings)
        program = _which(command.argv[0], path)
        if not program:
            return (f"There is no program {command.argv[0]} in {path}; set [exec] path or command in "
                    f"{home.root}/oscron.toml.")
        _require_interpreter(program, path)
        if record.get("no_agent"):
            _require_scripts(record, place)
        if not command.by_agent:
            _require_workdir(record)
    except NoExecutor as error:
        return str(error)
    return None


def why_incomplete(record: Record, home: Home) -> str | None:
    """Return what the runs of the job of `record`, which do not fail by it, lack; None if they lack nothing.

    The agent runs a prompt also without its script, and any job without its working directory.
    """
    try:
        place = home_of(home.root, str(record.get("profile") or home.profile))
        _require_scripts(record, place)
        _require_workdir(record)
    except ProfileNotFound as error:
        return (f"{error} The job runs in {home.profile}, which owns it. 'hermes-oscron update ID --run-profile NAME' "
                f"names another one.")
    except NoExecutor as error:
        return str(error)
    return None


def _require_scripts(record: Record, home: Home) -> None:
    """Raise NoExecutor if a script or the interpreter that `record` names cannot be used."""
    names = [record.get("script"), record.get("monitor_script")]
    for name in filter(None, names):
        _script(home, str(name))
    if record.get("no_agent") and not names[0]:
        _script(home, "")
    if isinstance(named := record.get("interpreter"), str) and named.strip() and any(names):
        _python_of_job(named.strip())


def _require_interpreter(program: str, path: str) -> None:
    """Raise NoExecutor if `program` is a script whose first line names an interpreter that is not there (execve(2))."""
    try:
        with open(program, "rb", opener=open_regular) as file:
            first = os.fsdecode(file.readline(MAX_SHEBANG_BYTES))
    except OSError:  # a program can be executed without being readable
        return
    words = first.removeprefix("#!").split()
    if not first.startswith("#!") or not words:
        return
    if os.path.basename(words[0]) == "env" and words[1:] and re.fullmatch(SIMPLE_NAME, words[1]):
        words = words[1:]
    if not _which(words[0], path):
        raise NoExecutor(f"{program} needs {words[0]}, which is not there or not executable. Install it, or reinstall "
                         f"{os.path.basename(program)}.")


def _which(program: str, path: str) -> str | None:
    """Return the file of `program` in the folders of `path`; None if there is none that can be executed."""
    import shutil  # 2 ms, and no run that begins needs it

    return shutil.which(program, path=path)


def _require_workdir(record: Record) -> None:
    """Raise NoExecutor if the job of `record` names a working directory that this account cannot enter."""
    folder = _directory(record, "")
    if folder and (error := why_closed(folder)):
        raise NoExecutor(f"The working directory {folder} cannot be entered: {cause(error)} 'hermes-oscron update ID "
                         f"--workdir FOLDER' names another one.")


def why_closed(folder: str) -> Exception | None:
    """Return why this account cannot enter `folder`; None if it can."""
    try:
        os.stat(f"{folder}/.")
    except (OSError, ValueError) as error:
        return error
    return None


def fields_without_effect(record: Record, home: Home, settings: config.Config) -> list[str]:
    """Return the fields set in `record` that only the agent uses, if another program runs the job."""
    try:
        if command_for(record, home, settings, will_run=False).by_agent:
            return []
    except NoExecutor:
        return []
    delivered = ["deliver"] if is_delivered(record) else []
    return delivered + [field for field in OF_AGENT if record.get(field)]


def policy_without_effect(record: Record, home: Home, settings: config.Config) -> list[str]:
    """Return the keys of the policy of `record` that have no effect because the agent runs the job."""
    try:
        if not command_for(record, home, settings, will_run=False).by_agent:
            return []
    except NoExecutor:
        return []
    return [key for key in NOT_BY_AGENT if key in (record.get("policy") or {})]


def _require_no_agent(record: Record, home: Home) -> None:
    """Raise NoExecutor if the job of `record` cannot run without the agent, which was not found."""
    if record.get("no_agent"):
        return
    fields = [field for field in AGENT_ONLY if record.get(field)]
    what = f"a job with '{fields[0]}'" if fields else "the prompt"
    otherwise = "" if fields else ", or set 'command' there, like command = [\"claude\", \"-p\"]"
    raise NoExecutor(f"No program can run {what}: the Hermes agent was not found. Install it, name its `hermes` with "
                     f"'agent' under [exec] in {home.root}/oscron.toml{otherwise}.")


def _script_command(record: Record, home: Home, environment: dict[str, str], python: str | None,
                    will_run: bool) -> Command:
    """Return the command that runs the script of `record` as the agent would, whose `python` is given if there is one.

    Without an agent, Python is that of PATH, and nothing is removed from the environment or the output.
    """
    script = _script(home, str(record.get("script") or ""))
    interpreter, redactor = ["python3"], tuple[str, ...]()
    if python:
        from ..hermes import agent_facts

        try:
            facts = agent_facts.facts(python, home, environment, any_environment=not will_run)
        except agent_facts.AgentBroken as error:
            raise NoExecutor(str(error)) from None
        environment = facts.script_environment(environment)
        interpreter, redactor = list(facts.python), tuple(agent_facts.redaction_command(python))
    if script.lower().endswith((".sh", ".bash")):
        interpreter = ["bash"]
    elif isinstance(named := record.get("interpreter"), str) and named.strip():
        interpreter = [_python_of_job(named.strip())]
    elif python:
        environment |= facts.python_environment
    return Command([*interpreter, script], b"", _directory(record, os.path.dirname(script)),
                   {**environment, **_identity(record)}, redactor=redactor)


def _python_of_job(named: str) -> str:
    """Return the path of the Python that a job names as its `interpreter`, checked as the agent does at each run."""
    path = os.path.expanduser(named)
    if not os.path.isabs(path):
        raise NoExecutor(f"The interpreter {named!a:.80} must be an absolute path, or begin with '~'. "
                         f"{OTHER_PYTHON}")
    if not os.path.isfile(path):
        raise NoExecutor(f"The interpreter {named} was not found. {OTHER_PYTHON}")
    if not os.access(path, os.X_OK):
        raise NoExecutor(f"The interpreter {named} is not executable. {OTHER_PYTHON}")
    if not all(re.fullmatch(PYTHON_NAME, os.path.basename(name)) for name in (path, os.path.realpath(path))):
        raise NoExecutor(f"The interpreter {named} is not a Python (python, python3, python3.12). "
                         f"{OTHER_PYTHON}")
    return path


def _identity(record: Record) -> dict[str, str]:
    return {"HERMES_JOB_ID": str(record["id"]), "HERMES_JOB_NAME": _for_environment(record.get("name"))}


def _due(record: Record) -> str:
    """Return the `next_run_at` of `record` if it is past, as it is stored; else the schedule alone is due."""
    due = next_run_of(record)
    return str(record["next_run_at"]) if due and due.timestamp() <= time.time() else ""


def _prompt(record: Record) -> str:
    """Return the prompt of `record`, with the text that the agent's `trigger_job` has added for this run alone."""
    prompt, added = str(record.get("prompt") or ""), record.get("manual_run_prompt")
    return f"{prompt}\n\n## Run Context\n{added}" if added and record.get("manual_run_at") else prompt


def _script(home: Home, name: str) -> str:
    """Return the path of the script `name` of `home`, which this account can read. Raises NoExecutor."""
    if not name:
        raise NoExecutor("The job runs without the agent and has no script. 'hermes-oscron update ID --script NAME' "
                         "gives it one.")
    try:
        path = script_path(home, name)
        os.close(open_regular(path, os.O_RDONLY))
    except ScriptPathError as error:
        raise NoExecutor(f"{error} {OTHER_SCRIPT}") from None
    except FileNotFoundError:
        raise NoExecutor(f"There is no script {path}. Put it there; {OTHER_SCRIPT}") from None
    except OSError as error:
        folders = list(filter(why_closed, (home.scripts_dir, os.path.dirname(path))))
        raise NoExecutor(f"The script {path} cannot be read{f', because of {folders[0]}' if folders else ''}: "
                         f"{cause(error)}") from None
    return path


def _execution_home(record: Record, home: Home) -> Home:
    """Return the home of the profile that `record` names, or the one that owns the job."""
    profile = record.get("profile")
    if not isinstance(profile, str) or profile == home.profile:
        return home
    try:
        return home_of(home.root, profile)
    except ProfileNotFound as error:
        print(f"{error} The job runs in {home.profile}, which owns it.", flush=True)
        return home


def _script_timeout(home: Home, environment: dict[str, str]) -> float:
    """Return the time limit of scripts in seconds, as the agent has it: its whole seconds, if any, above 0."""
    return agent_settings.limit(home, agent_settings.SCRIPT_TIMEOUT, environment) or DEFAULT_TIMEOUT_S


def _directory(record: Record, otherwise: str) -> str:
    workdir = record.get("workdir")
    return workdir if isinstance(workdir, str) and workdir else otherwise


def _for_environment(name: object) -> str:
    return str(name or "")[:MAX_NAME_CHARS].replace("\0", "").encode("utf-8", "replace").decode()
