"""The commands `import crontab` and `import timers`: jobs of cron and systemd as jobs of Hermes."""

import getpass

import click

from ..account import uses_privileged_helper
from ..jobs.fields import ValidationError
from ..schedulers.crontab.table import CrontabFile
from ..schedulers.systemd.systemctl import own_systemctl
from ..service import crontab_import, timer_import
from ..service.crontab_import import Line
from .addressing import JSON_OPTION, PROFILE_OPTION, YES_OPTION, print_json
from .group import Commands, service
from .render import one_line
from .terminal import Input, InputFile, confirm

OWN = "the crontab"
ALWAYS = """\
Each line gets a script with its environment: SHELL and PATH are cron's, unless the crontab sets them. Differences from
cron: while a job runs it is not started again; the output is kept, and not mailed; a job that was missed while the
machine was off runs once when it is on."""


@click.group("import", cls=Commands)
def import_() -> None:
    """Make jobs of the lines of a crontab, or of timers."""


@import_.command("crontab", short_help="Show or import the lines of a crontab.",
                 epilog="Example: hermes-oscron import crontab; hermes-oscron import crontab --lines 3,5")
@click.argument("file", type=InputFile(), required=False)
@click.option("--users/--no-users", default=None, help="The lines have a user before the command, or not.")
@click.option("--lines", "numbers", metavar="N,N…", help="Import the lines with these numbers.")
@click.option("--all", "all_lines", is_flag=True, help="Import every line that can be, and is not commented out.")
@click.option("--comment-out", is_flag=True, help="Comment out the imported lines in your crontab.")
@YES_OPTION
@PROFILE_OPTION
@JSON_OPTION
def import_crontab(file: Input | None, users: bool | None, numbers: str | None, all_lines: bool, comment_out: bool,
                   yes: bool, in_profile: str | None, wants_json: bool) -> None:
    """Show what becomes of the lines of FILE, or of your crontab, and import some.

    Each line is shown with its number. Without --lines or --all nothing is changed. Imported jobs are paused: comment
    out their lines, or use --comment-out, and then resume the jobs. Otherwise they would run twice.
    """
    here = service(in_profile)
    if comment_out and file:
        raise click.UsageError("--comment-out is for your own crontab, without FILE.")
    name, content = file or Input(OWN, CrontabFile().read())
    text = content.decode("utf-8", "surrogateescape")
    with_users = users if users is not None else file is not None and crontab_import.has_users(name, text)
    lines = [crontab_import.planned(here, line, getpass.getuser())
             for line in crontab_import.lines_of(text, with_users)]
    chosen = _chosen(lines, numbers, all_lines)
    if comment_out and chosen and not yes:
        confirm(f"Comment out {len(chosen)} line{'s' * (len(chosen) != 1)} of {name}?")
    created = {line.number: crontab_import.carry_out(here, line)["id"] for line in chosen}
    if comment_out and chosen:
        crontab_import.comment_out({line.number: line.text for line in chosen if line.enabled})
    if wants_json:
        print_json([{**line._asdict(), "job_id": created.get(line.number)} for line in lines])
    else:
        _show(lines, created, comment_out)


def _chosen(lines: list[Line], numbers: str | None, all_lines: bool) -> list[Line]:
    """Return the lines to import. Raises UsageError, ValidationError."""
    if numbers and all_lines:
        raise click.UsageError("Give either --lines or --all.")
    if not numbers:
        return [line for line in lines if all_lines and line.enabled and not line.why_not]
    by_number, chosen = {str(line.number): line for line in lines}, []
    for word in filter(None, numbers.replace(" ", "").split(",")):
        line = by_number.get(word)
        if line is None:
            raise click.UsageError(f"Line {word} is not a job; the jobs are lines {', '.join(by_number) or 'none'}.")
        if line.why_not:
            raise ValidationError(f"Line {word} cannot be imported: {line.why_not}")
        chosen.append(line)
    return list({line.number: line for line in chosen}.values())


def _show(lines: list[Line], created: dict[int, str], commented_out: bool) -> None:
    if not lines:
        click.echo("There are no jobs in the crontab.")
        return
    for line in lines:
        state = ("" if line.enabled else " (commented out)") + (f" as {line.user}" if line.user else "")
        click.echo(f"{line.number}{state}: {one_line(line.schedule)}  {one_line(line.command)}")
        for sentence in filter(None, (line.why_not and f"NOT IMPORTED: {line.why_not}", *line.notes)):
            click.echo(f"    {one_line(sentence)}")
        if line.stdin is not None:
            click.echo(f"    Its input, after the %: {one_line(line.stdin)}")
        if line.number in created:
            click.echo(f"    Created {created[line.number]}, paused.")
    click.echo(f"\n{ALWAYS}")
    if not created:
        click.echo("\nNothing was changed: --lines or --all imports lines.")
        return
    first = "" if commented_out else f"Comment out line {', '.join(map(str, created))} in the crontab; then: "
    click.echo(f"\n{first}hermes-oscron resume {' '.join(created.values())}")


@import_.command("timers", short_help="Show or import timers of systemd.",
                 epilog="Example: hermes-oscron import timers; hermes-oscron import timers backup.timer")
@click.argument("timer", nargs=-1)
@PROFILE_OPTION
@JSON_OPTION
def import_timers(timer: tuple[str, ...], in_profile: str | None, wants_json: bool) -> None:
    """Show what becomes of the timers of systemd, and import those that are named.

    They are those of the manager that fires the jobs. Imported jobs are paused, and start the service of the timer:
    disable the timer, and then resume the job. Otherwise the service would be started twice.
    """
    here, manager = service(in_profile), own_systemctl()
    if uses_privileged_helper():
        raise click.ClickException(f"The jobs of this installation run as {getpass.getuser()}, which may not start the "
                                   f"services of the system.")
    if reason := manager.unreachable():
        raise click.ClickException(reason)
    found = {each.name: each for each in timer_import.timers(here, manager)}
    names = [name if name.endswith(".timer") else f"{name}.timer" for name in timer]
    for name in names:
        if name not in found:
            raise click.UsageError(f"There is no timer {name}.")
        if found[name].why_not:
            raise ValidationError(f"{name} cannot be imported: {found[name].why_not}")
    created = {name: timer_import.carry_out(here, found[name], manager)["id"] for name in dict.fromkeys(names)}
    if wants_json:
        print_json([{**each._asdict(), "job_id": created.get(each.name)} for each in found.values()])
        return
    for each in found.values():
        click.echo(f"{one_line(each.name)}: {one_line(each.schedule) or '-'}  {one_line(each.description)}")
        for sentence in filter(None, (each.why_not and f"NOT IMPORTED: {each.why_not}", *each.notes)):
            click.echo(f"    {one_line(sentence)}")
        if each.name in created:
            click.echo(f"    Created {created[each.name]}, paused.")
    user = " --user" if manager.user else ""
    if created:
        click.echo(f"\nsystemctl{user} disable --now {' '.join(created)}\nhermes-oscron resume "
                   f"{' '.join(created.values())}")
    else:
        click.echo("\nNothing was changed: name the timers to import." if found else "There are no other timers.")
