"""Other accounts of a machine find no token, cookie or prompt."""

import http.client
import json
import secrets
import shlex

from tests.conftest import wait_for
from tests.machine.sites import Site

PROMPT = f"a prompt that is nobody else's business {secrets.token_hex(8)}"
"""Random, since this file is on the machine too."""
PLACES = "/etc /home /opt /root /run /tmp /usr/local /var"


def login(site: Site) -> str:
    """Return the cookie of a login with the token."""
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)
    body = json.dumps({"password": site.api.token})
    connection.request("POST", "/api/auth/login", body, {"Content-Type": "application/json"})
    cookie = connection.getresponse().headers["Set-Cookie"]
    connection.close()
    return cookie.split(";")[0].partition("=")[2]


def test_no_token_cookie_or_prompt_is_in_an_argument_the_journal_or_a_file_for_others(site: Site) -> None:
    site.put(f"{site.hermes}/oscron.toml", '[exec]\ncommand = ["sh", "-c", "cat >/dev/null; sleep 5; exit 3"]\n')
    try:
        hidden = [str(site.api.token), login(site), PROMPT]
        job_id = site.api.create(prompt=PROMPT, schedule="0 9 * * *")["id"]
        site.verb("run", job_id)
        wait_for(lambda: job_id in site.api.running())
        patterns = "".join(f" -e {shlex.quote(secret)}" for secret in hidden)
        seen = site.box.run(f"for file in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$file; echo; done | grep -F {patterns}"
                            f" | grep -v grep", check=False).stdout
        assert not seen
        wait_for(lambda: site.api.job(job_id)["last_status"] == "error", 20)
        for secret in hidden:
            site.api.call("GET", f"/api/crons/output?job_id={job_id}&limit=x")
            assert secret not in site.box.run("journalctl --no-pager -o verbose --all | grep -av grep").stdout
        readable = f"find {PLACES} -xdev -type f -perm /044 -size -4000k -newer /etc/machine-id -print0"
        reachable = f"{readable} | xargs -0 -r grep -lF {patterns}"
        found = site.box.run(f"setpriv --reuid=daemon --regid=daemon --clear-groups sh -c {shlex.quote(reachable)}",
                             check=False).stdout
        assert not found
    finally:
        site.run_prompts()
