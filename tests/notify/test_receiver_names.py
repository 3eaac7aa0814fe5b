"""The names of receivers, which are in pages, logs and metrics: recognisable, and without a secret."""

import pytest

from hermes_oscron.notify.outbox import URL, Target

SECRET = "5ecret"


@pytest.mark.parametrize(("url", "shown"), [
    ("mailto://me:5ecret@gmail.com", "mailto gmail.com"),
    ("mailtos://me:5ecret@Mail.Example.net:465/?from=a@b.c&to=ops%40Example.org", "mailtos example.org"),
    ("mailto://127.0.0.1:2525?from=hermes@example.org&to=admin@example.org,5ecret@x.y", "mailto example.org"),
    ("json://me:5ecret@alerts.example.org:8080/5ecret?x=5ecret", "json alerts.example.org"),
    ("gotifys://push.example.org/5ecret", "gotifys push.example.org"),
    ("ntfys://me:5ecret@ntfy.example.org/5ecret", "ntfys ntfy.example.org"),
    # the first part is a token, or may be one
    ("ntfy://5ecret", "ntfy"), ("ntfy://5ecret/other", "ntfy"), ("tgram://5ecret/42", "tgram"),
    ("slack://5ecret/b/c", "slack"), ("sendgrid://SG.5ecret:me@example.org", "sendgrid"),
    # a password with a character of a URL
    ("mailto://me:a/5ecret.x@example.org", "mailto"), ("mailto://me:1@5ecret.x/b@example.org", "mailto"),
    ("mailto://me:1@5ecret.x?b@example.org", "mailto"), ("mailto://me:1@5ecret.x#b@example.org", "mailto"),
    ("mailto://me:25/5ecret.x@example.org", "mailto"), ("mailto://me:a@b@5ecret.x@example.org", "mailto"),
    ("mailto://me:5ecret@example.org?to=a:5ecret", "mailto example.org"),
])
def test_a_name_has_the_service_and_a_domain_and_no_secret(url: str, shown: str) -> None:
    name = Target(URL, (url,)).name
    assert SECRET not in name
    assert name.partition(" (")[0] == shown
