"""Show a registered version on the run's page, for whoever approves going back to it.

Example:
    python show_version.py --model-name customer-messages --model-version 3 --reason 'version 4 answers slowly'
"""

import argparse
import sys

from azure import Azure, AzureError
from runner import escape, fail, write_summary


def render(model: dict, reason: str) -> str:
    """Return name, reason and tags as Markdown."""
    lines = [f"# Go back to {model['name']}, version {model['version']}?", "", f"Reason: {escape(reason)}", ""]
    lines += ["| tag | value |", "|---|---|"]
    lines += [f"| {escape(name)} | {escape(str(value))} |" for name, value in sorted((model.get("tags") or {}).items())]
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-name", required=True)
    parser.add_argument("--model-version", required=True, help="its exact number")
    parser.add_argument("--reason", required=True)
    arguments = parser.parse_args(argv)
    if not arguments.model_version.isdecimal():
        return fail(f"model version {arguments.model_version!r}: expected an exact number")
    version = ("--name", arguments.model_name, "--version", arguments.model_version)
    try:
        model = Azure().run("ml", "model", "show", *version)
    except AzureError as error:
        return fail(str(error))
    write_summary(render(model, arguments.reason))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
