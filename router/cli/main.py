"""`pointsman`: the list of commands; each is imported when it is asked for, so that the help is quick."""

from __future__ import annotations

from importlib import import_module

import click

COMMANDS = {
    "up": ("up", "Start everything on this machine and serve until Ctrl-C."),
    "register": ("register", "Take an ONNX model in as a new version; changes no route."),
    "deploy": ("versions", "Start replicas of a version and wait until they are ready."),
    "undeploy": ("versions", "Stop the replicas of a version that nobody needs."),
    "promote": ("flips", "Make a version active."),
    "rollback": ("flips", "Go back to the previous version, at once."),
    "split": ("flips", "Share the traffic between versions by percent."),
    "fallback": ("flips", "Say which version answers where the chosen one cannot."),
    "alias": ("additions", "Let a name stand for a version; list the names."),
    "status": ("status", "What runs, and who answers."),
    "history": ("history", "Who changed a route, when and why."),
    "state": ("fleet", "What was active at a time."),
    "show": ("comparison", "A version whole."),
    "diff": ("comparison", "What differs between two versions."),
    "compare": ("comparison", "Versions side by side."),
    "lineage": ("comparison", "Where a version comes from; what a data set went into."),
    "card": ("comparison", "The model card of a version."),
    "tag": ("additions", "Tags of a version."),
    "note": ("additions", "Write a note on a version."),
    "search": ("fleet", "Find versions by metrics, tags, parameters and more."),
    "inventory": ("fleet", "Every model: owner, risk, intended use, reviews."),
    "review": ("additions", "Mark a model as reviewed."),
    "logs": ("logs", "The request log."),
    "why": ("why", "Explain who answered a request, and why."),
    "routers": ("routers", "The known routers; forget one that is gone."),
    "keys": ("keys", "Keys of applications and people: create, list, rotate, revoke."),
    "audit": ("audit", "The audit trail: verify it, or export it for an auditor."),
    "registry": ("registry", "Give a Redis that lost changes back what this host still knows."),
    "restart": ("restart", "Restart processes of this host one by one, without a failed request."),
}


class Commands(click.Group):
    """Knows names and short help of all commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which one needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the command."""
        if cmd_name not in COMMANDS:
            return None
        found = getattr(import_module(f"router.cli.{COMMANDS[cmd_name][0]}"), cmd_name)
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of the help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="pointsman", message="%(version)s")
def main() -> None:
    """Pointsman: serve model versions, switch between them, know who answered.

    POINTSMAN_URL and POINTSMAN_KEY say where the control listener is and with which key; neither is needed
    on the machine that runs `pointsman up`. Exit status: 0 done, 1 refused or failed, 2 wrong usage.
    """


if __name__ == "__main__":
    main()
