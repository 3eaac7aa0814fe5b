"""The pages of jobs: one job, its outputs and log, the actions on it, the forms for it, and the audit of all."""

import contextlib
import re
from typing import TYPE_CHECKING, Any, cast

import bottle

from ... import config
from ...errors import OscronError
from ...hermes.home import SAFE_NAME, homes_of
from ...hermes.jobs_file import JobNotFound
from ...hermes.timezone import home_zone
from ...json_text import to_json
from ...runs import stop as stop_run
from ...schedule.model import ScheduleError
from ...service.audit import audits
from ...service.explain import Explanation, explain
from ...service.jobs import JobService
from .. import request
from . import form, output
from .job import job_page, live_log
from .page import STALE_FORM, Page, local_path, raw, redirect, render
from .times import Clock, duration

if TYPE_CHECKING:
    from .routes import Dashboard

DONE = {"created": "The job is created.", "updated": "The changes are saved.", "running": "The run has begun.",
        "stopped": "The run is stopped.", "stopping": "The run is being stopped, and has not ended yet.",
        "paused": "The job is paused.", "resumed": "The job is resumed.", "nothing": "The job was not running.",
        "already": "The job was running already."}
"""The sentence that a page shows after an action."""
FORM = r"`([^`]{1,200})`"
"""A form of a schedule in an error or a warning."""
SUGGESTION = r"(?s)(?:; write `.*)? \(other forms:.*"
"""The end of an error about a schedule, for which the page has buttons."""
MAX_REASON_CHARS = 4096


class JobPages:
    """The pages of jobs."""

    def __init__(self, dashboard: "Dashboard") -> None:
        self._dashboard = dashboard
        self._all = dashboard.service

    # Reading

    def show(self, profile: str, job_id: str) -> Page:
        service = self._service(profile, job_id)
        before = request.text_param("before") or ""
        moment = float(before) if re.fullmatch(r"[0-9]{1,11}(\.[0-9]{1,9})?", before) else None
        values = job_page(service, job_id, self._clock(service), moment)
        return render("job", **values, done=DONE.get(request.text_param("done") or ""), duration=duration)

    def log(self, profile: str, job_id: str) -> Page:
        service = self._service(profile, job_id)
        part = live_log(service.home, job_id, request.int_param("offset") or 0)
        answer = part._asdict() | {"running": service.progress(job_id) is not None}
        return Page(to_json(answer), content_type="application/json")

    def output(self, profile: str, job_id: str, filename: str) -> Page:
        service = self._service(profile, job_id)
        content = service.output(job_id, request.filename_of(filename))
        view = request.text_param("view")
        if view == "raw":
            return raw(content)
        try:
            job = service.show(job_id)
        except JobNotFound:
            job = {"name": job_id}
        parts = output.parts_of(content)
        is_rendered = view == "rendered" or (view != "plain" and not job.get("no_agent"))
        html = output.as_html(parts.response) if is_rendered else None
        return render("output", clock=self._clock(service), job=job, home=service.home, html=html, output=parts,
                      too_long=is_rendered and html is None, filename=filename, path=f"/jobs/{profile}/{job_id}")

    def explained(self) -> Page:
        profile = request.text_param("profile") or None
        service = self._all.of_profile(profile if profile and SAFE_NAME.fullmatch(profile) else None)
        return render("explain", **self._explanation(service, request.text_param("schedule") or ""))

    def audit(self) -> Page:
        """Show the result of the audit, if it is asked for: it reads the whole ledger."""
        now = self._all.clock.now()
        found, problems = [], []
        for home in homes_of(self._all.root) if request.bool_param("run") else ():
            try:
                found += [(home, each) for each in audits(home, None, None, now)]
            except (OscronError, OSError) as error:
                problems.append(f"{home.profile}: {error}")
        return render("audit", clock=self._clock(self._all), results=found, problems=problems, logged_in=True,
                      asked=request.bool_param("run"))

    # Actions

    def run(self, profile: str, job_id: str) -> Page:
        elapsed = self._service(profile, job_id).run(job_id)
        return self._back(profile, job_id, "running" if elapsed is None else "already")

    def stop(self, profile: str, job_id: str) -> Page:
        run = stop_run.find(self._service(profile, job_id).home, job_id)
        if run is None:
            return self._back(profile, job_id, "nothing")
        with contextlib.closing(run):
            return self._back(profile, job_id, "stopped" if run.stop() else "stopping")

    def pause(self, profile: str, job_id: str) -> Page:
        reason = request.form_body().get("reason", "").strip()[:MAX_REASON_CHARS]
        self._service(profile, job_id).pause(job_id, reason or None)
        return self._back(profile, job_id, "paused")

    def resume(self, profile: str, job_id: str) -> Page:
        self._service(profile, job_id).resume(job_id)
        return self._back(profile, job_id, "resumed")

    def delete(self, profile: str, job_id: str) -> Page:
        given = request.form_body()
        self._service(profile, job_id).delete(job_id, "stop" in given, "keep_outputs" in given)
        return redirect("/")

    # Forms

    def new(self) -> Page:
        profile = request.text_param("profile") or self._all.home.profile
        return self._form(self._all.of_profile(profile), form.defaults(), is_new=True)

    def create(self) -> Page:
        given = request.form_body()
        service = self._all.of_profile(given.get("profile_of_job") or None)
        values = form.defaults()
        if "explain" in given or _stale_form():
            return self._form(service, given, is_new=True, error=_stale_form())
        try:
            wanted = form.changed(given, values, {})
            job = service.create({**wanted, "schedule": given.get("schedule", "")})
        except OscronError as error:
            return self._form(service, given, is_new=True, error=error)
        return self._back(job["owner_profile"], job["id"], "created")

    def copy(self, profile: str, job_id: str) -> Page:
        service = self._service(profile, job_id)
        values = form.values_of(service.show(job_id))
        values |= {"name": f"{values['name']} (copy)"[:200], "paused": form.YES}
        return self._form(service, values, is_new=True)

    def edit(self, profile: str, job_id: str) -> Page:
        service = self._service(profile, job_id)
        view = service.show(job_id)
        return self._form(service, form.values_of(view), is_new=False, view=view)

    def update(self, profile: str, job_id: str) -> Page:
        service = self._service(profile, job_id)
        view, given = service.show(job_id), request.form_body()
        if "explain" in given or _stale_form():
            return self._form(service, given, is_new=False, view=view, error=_stale_form())
        before = {name: value for name, value in form.values_of(view).items() if not form.only_new(name)}
        try:
            service.update(job_id, form.changed(given, before, view["policy"]))
        except OscronError as error:
            return self._form(service, given, is_new=False, view=view, error=error)
        return self._back(profile, job_id, "updated")

    def _form(self, service: JobService, values: dict[str, str], is_new: bool, view: dict[str, Any] | None = None,
              error: OscronError | None = None) -> Page:
        """Return the form with `values`; nothing that was typed is lost by an `error`."""
        profile = service.home.profile
        found = form.inputs(values, is_new, config.policy_of(service.root, profile))
        text = found["schedule"].value
        wrong = form.field_of(str(error), found) if error else ""
        action = "/jobs/new" if view is None else f"/jobs/{profile}/{view['id']}"
        return render("form", error.status if error else 200, view=view, fields=found,
                      groups=form.groups(found), scripts=form.scripts(service.home), profile=profile, logged_in=True,
                      error=str(error) if error else "", wrong=wrong,
                      action=action if view is None else f"{action}/edit", back="/" if view is None else action,
                      profiles=[home.profile for home in homes_of(service.root)], targets=service.delivery_options(),
                      **self._explanation(service, text))

    def _explanation(self, service: JobService, text: str) -> dict[str, Any]:
        """Return the values of the template that explains the schedule `text`."""
        explanation: Explanation | None = None
        refused, forms = "", list[str]()
        if text.strip():
            try:
                explanation = explain(text, home_zone(service.home), service.scheduler, service.clock.now())
            except (OscronError, OverflowError) as error:
                sentence = str(error)
                refused = re.sub(SUGGESTION, ".", sentence) if isinstance(error, ScheduleError) else sentence
                forms = re.findall(FORM, sentence)
        return {"explanation": explanation, "refused": refused, "forms": forms, "clock": self._clock(service)}

    def _service(self, profile: str, job_id: str) -> JobService:
        """Return the commands on the jobs of `profile`. Raises ValidationError, ProfileNotFound."""
        request.job_id_of(job_id)
        return self._all.of_profile(profile)

    def _clock(self, service: JobService) -> Clock:
        return self._dashboard.clock(service)

    def _back(self, profile: str, job_id: str, done: str) -> Page:
        """Return the way to the page from which an action came, else to that of the job."""
        given = request.form_body().get("next")
        return redirect(local_path(given) if given else f"/jobs/{profile}/{job_id}?done={done}")


def _stale_form() -> OscronError | None:
    """Return the error of this request's form, if its token is not valid."""
    return cast(OscronError | None, bottle.request.environ.get(STALE_FORM))
