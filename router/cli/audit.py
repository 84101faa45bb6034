"""`pointsman audit verify` and `audit export`: whether the trail is as it was written, and the folder of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from router.cli.command import show_json, with_json
from router.cli.refused import Refused

ANSWER_S = 120.0
SHOWN = 20  # findings of a chain


@click.group()
def audit() -> None:
    """The audit trail: verify it, or export it for an auditor. Both have --json."""


@audit.command()
@click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", metavar="M", help="This model of the running installation.")
@click.option(
    "--pubkey",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With a folder: public keys (PEM) to trust instead of those in it.",
)
@with_json
def verify(folder: Path | None, model: str | None, pubkey: Path | None, as_json: bool) -> None:
    """Check an export FOLDER, without a server; or one model of the running installation, or all of it.

    Of the running installation it also rebuilds routes, history, versions and wishes from the chain and holds
    what is stored against them.
    """
    if folder is not None and model is not None:
        raise click.UsageError("either a folder, or --model")
    if pubkey is not None and folder is None:
        raise click.UsageError("--pubkey goes with a folder")
    if folder is not None:
        _judge([_folder(folder, pubkey)], as_json, one=True)
    elif model is not None:
        from router.cli.gateway import Gateway, path

        with Gateway() as gateway:
            place = path("models", model, "audit", "verify")
            _judge([gateway.ask("GET", place, answer_s=ANSWER_S).document], as_json, one=True)
    else:
        _judge(_everything(), as_json, one=False)


@audit.command("export")
@click.option("--model", required=True, metavar="M")
@click.option("--from", "start", metavar="T", help="A time such as 2026-01-01T00:00:00Z, or 90d; else all.")
@click.option("--to", "end", metavar="T", help="Likewise; else now.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A folder that is new, or empty.")
@with_json
def export(model: str, start: str | None, end: str | None, out: Path, as_json: bool) -> None:
    """Write the folder for an auditor, and check it."""
    from router.cli.gateway import Gateway, path

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Refused(f"{out} is there and not an empty folder", "not_empty")
    with Gateway() as gateway:
        place = path("models", model, "audit", "export")
        archive = gateway.fetch(place, answer_s=ANSWER_S, **{"from": start, "to": end})
    files = _unpacked(archive, out)
    if not as_json:
        click.echo(f"{out}: {files} files", err=True)
    _judge([_folder(out, None)], as_json, one=True)


def _folder(folder: Path, pubkey: Path | None) -> dict[str, Any]:
    """The verdict on an export. Raises Refused where it is none."""
    from router.audit import signing
    from router.audit.ed25519 import public_keys
    from router.audit.folder import check_folder, read_folder
    from router.audit.verdict import verdict

    try:
        files = read_folder(folder)
        keys = None if pubkey is None else public_keys(pubkey.read_text("ascii"))
        trusted = public_keys(files.get("pubkey.pem", b"").decode()) if keys is None else keys
        chain, found = check_folder(files, keys, signing.verify)
    except (OSError, ValueError) as error:
        raise Refused(f"{folder} cannot be checked: {error}", "no_export") from None
    return verdict(chain, found, len(trusted))


def _everything() -> list[dict[str, Any]]:
    """The verdicts on every model, on the keys, and on what is about neither."""
    from router.cli.gateway import Gateway, path

    with Gateway() as gateway:
        names, cursor = [], None
        while True:
            page = gateway.get("/models", cursor=cursor).document
            names += [each["model"] for each in page["models"]]
            cursor = page["next"]
            if cursor is None:
                break
        places = [path("models", name, "audit", "verify") for name in names]
        places += [path("audit", chain, "verify") for chain in ("keys", "installation")]
        return [gateway.ask("GET", place, answer_s=ANSWER_S).document for place in places]


def _unpacked(archive: bytes, out: Path) -> int:
    """Writes the files of an export below `out`; how many. Raises Refused."""
    import io
    import zipfile

    out.mkdir(parents=True, exist_ok=True)
    root, count = out.resolve(), 0
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as found:
            for item in found.infolist():
                target = (root / item.filename).resolve()
                if not target.is_relative_to(root):
                    raise Refused(
                        f"the answer has a file outside of the folder: {item.filename}", "bad_answer"
                    )
                if item.is_dir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(found.read(item))
                count += 1
    except zipfile.BadZipFile:
        raise Refused("the answer is no zip", "bad_answer") from None
    return count


def _judge(verdicts: list[dict[str, Any]], as_json: bool, *, one: bool) -> None:
    """Tells what was found; status 1 where anything was."""
    if as_json:
        show_json(verdicts[0] if one else {"chains": verdicts})
    else:
        for each in verdicts:
            _tell(each)
    if not all(each["intact"] for each in verdicts):
        raise SystemExit(1)


def _tell(verdict: dict[str, Any]) -> None:
    if verdict["intact"]:
        head = verdict["head"]
        click.echo(f"{verdict['chain']}: intact, {verdict['entries']} entries, head {head['seq']}")
        click.echo(f"  {head['hash']}")
        return
    first = verdict["first_bad"]
    where = "no entry, but what stands beside them" if first is None else f"first bad seq {first}"
    click.echo(f"{verdict['chain']}: NOT intact: {where}")
    for finding in verdict["findings"][:SHOWN]:
        click.echo(f"  {finding['kind']}: {finding['text']}")
    if (more := len(verdict["findings"]) - SHOWN) > 0:
        click.echo(f"  and {more} more")
