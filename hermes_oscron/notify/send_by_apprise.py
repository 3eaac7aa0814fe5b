"""python -m hermes_oscron.notify.send_by_apprise: send the message on standard input with Apprise.

It is a process of its own, because importing Apprise takes 0.25 s and 20 MB, and a service may not answer.
"""

import json
import logging
import sys


def main() -> int:
    """Send the message; print why, and return 1, if that fails. The URL has secrets, so it is not printed."""
    message = json.load(sys.stdin)
    import apprise

    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
    sender = apprise.Apprise()
    if not sender.add(message["url"]):
        print("The URL is not one of Apprise: https://appriseit.com/services/")
        return 1
    return 0 if sender.notify(title=message["title"], body=message["body"], notify_type=message["type"],
                              body_format=apprise.NotifyFormat.TEXT) else 1


if __name__ == "__main__":
    sys.exit(main())
