"""The completion of ids, names, commands and options in bash, zsh and fish.

The files are where these shells look for completions of any program. Each asks the program once, when it is needed.
"""

import os

from .layout import Layout

ASK = "_HERMES_OSCRON_COMPLETE={}_source hermes-oscron"
FILES = {
    "bash-completion/completions/hermes-oscron": f'eval "$({ASK.format("bash")})"\n',
    "zsh/site-functions/_hermes-oscron": f'#compdef hermes-oscron\neval "$({ASK.format("zsh")})"\n'
                                         '_hermes_oscron_completion "$@"\n',
    "fish/vendor_completions.d/hermes-oscron.fish": f"{ASK.format('fish')} | source\n",
}
"""The text of each file, by its path in the folder of the manuals' parent, like /usr/local/share."""


def files(layout: Layout) -> dict[str, str]:
    """Return the text of each file, by its path; none for a temporary installation."""
    share = os.path.dirname(layout.manuals) if layout.manuals else None
    return {f"{share}/{path}": text for path, text in FILES.items()} if share else {}


def folders(layout: Layout) -> list[str]:
    """Return the folders of the files, each before the one that it is in."""
    found = list(dict.fromkeys(os.path.dirname(path) for path in files(layout)))
    return [folder for each in found for folder in (each, os.path.dirname(each))]
