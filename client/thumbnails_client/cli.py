"""The command `thumbnails`: put, get, ls, wait, rm, against any server.

Results go to standard output, one a line (`--json`: one JSON document a line), all else to standard error. It
ends with status 0 when all went well, 1 when something did not, 2 for a wrong command line.
"""

import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import click
from tqdm import tqdm

from .client import DEFAULT_URL, Client, ClientError, Job
from .journal import Journal, default_path
from .uploads import Outcome, Uploader, find_pictures

_FITS: Final = ("cover", "contain", "inside", "outside", "fill")
_PARALLEL: Final = 4


class _Session:
    """What all commands share."""

    def __init__(self, url: str, key: str | None, *, as_json: bool) -> None:
        self.client = Client(url, key)
        self.key = key
        self.as_json = as_json
        self.failed = False

    def show(self, line: str, document: Mapping[str, Any]) -> None:
        click.echo(json.dumps(document) if self.as_json else line)

    def fail(self, line: str) -> None:
        self.failed = True
        click.echo(line, err=True)

    def each(self, names: Iterable[str], do: Callable[[str], object], parallel: int = 1) -> None:
        """Do it for each job; one that cannot be done does not stop the others."""

        def attempt(name: str) -> None:
            try:
                do(name)
            except (ClientError, OSError) as error:
                self.fail(f"{name}: {error}")

        with ThreadPoolExecutor(parallel) as pool:
            list(pool.map(attempt, names))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--server", envvar="THUMBNAILS_URL", default=DEFAULT_URL, show_default=True, help="Where the service is."
)
@click.option(
    "--key",
    envvar="THUMBNAILS_KEY",
    help="The API key. (In a command line others can read it: better in the variable.)",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line.")
@click.version_option(package_name="thumbnails")
@click.pass_context
def main(context: click.Context, server: str, key: str | None, as_json: bool) -> None:
    """Make thumbnails with a thumbnail service. THUMBNAILS_URL and THUMBNAILS_KEY say where and as whom."""
    if not server.startswith(("http://", "https://")):
        raise click.UsageError(f"The server is an http or https URL, not {server}.")
    context.obj = session = _Session(server, key, as_json=as_json)
    context.call_on_close(session.client.close)


@main.command()
@click.argument("paths", nargs=-1, required=True, metavar="FILE|FOLDER|PATTERN...")
@click.option("--width", type=int, help="In pixels.")
@click.option("--height", type=int, help="In pixels.")
@click.option("--fit", type=click.Choice(_FITS), help="How the picture fits into width and height.")
@click.option("--format", "format_", help="auto, jpeg, png, webp, avif, gif, tiff; several with commas.")
@click.option("--quality", type=click.IntRange(1, 100))
@click.option(
    "-o", "--option", "more", multiple=True, metavar="NAME=VALUE", help="Any other option of the API."
)
@click.option(
    "--parallel", type=click.IntRange(1, 32), default=_PARALLEL, show_default=True, help="Uploads at once."
)
@click.option("--wait", is_flag=True, help="Until the jobs have ended.")
@click.option(
    "--save",
    type=click.Path(file_okay=False, path_type=Path),
    help="Wait, and write the thumbnails into this folder.",
)
@click.option("--again", is_flag=True, help="Also what was uploaded before.")
@click.pass_obj
def put(session: _Session, /, paths: tuple[str, ...], **choices: Any) -> None:
    """Upload pictures: files, all pictures below folders, quoted patterns.

    Prints the id of each job. Interrupted, and called again, it goes on where it was: what was uploaded, by
    content and options, is not sent again as long as its job is there.
    """
    options = _options(choices)
    try:
        files = find_pictures(paths)
        total = sum(file.stat().st_size for file in files)
        if choices["save"] is not None:
            choices["save"].mkdir(parents=True, exist_ok=True)
        journal = Journal(default_path(os.environ))
    except ClientError as error:
        raise click.UsageError(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    done: list[Outcome] = []
    lock = threading.Lock()
    with (
        closing(journal),
        tqdm(
            total=total,
            unit="B",
            unit_scale=True,
            unit_divisor=1024,
            disable=not sys.stderr.isatty(),
            leave=False,
        ) as bar,
    ):

        def progress(count: int) -> None:
            with lock:
                bar.n = max(0, min(total, bar.n + count))
                bar.refresh()

        uploader = Uploader(
            session.client, journal, options, key=session.key, again=choices["again"], progress=progress
        )
        try:
            with closing(uploader.run(files, parallel=choices["parallel"])) as outcomes:  # type: ignore[type-var]
                for outcome in outcomes:
                    done.append(outcome)
                    bar.set_description_str(f"{len(done)} of {len(files)}", refresh=False)
                    with tqdm.external_write_mode(file=sys.stdout, nolock=False):
                        _show_outcome(session, outcome)
        except KeyboardInterrupt:
            session.fail(
                f"{len(done)} of {len(files)} are uploaded; the same command goes on with the others."
            )
            sys.exit(130)
    if choices["wait"] or choices["save"] is not None:
        jobs = {outcome.job.id: outcome for outcome in done if outcome.job is not None}
        session.each(jobs, lambda name: _finish(session, name, choices["save"]), choices["parallel"])
    sys.exit(session.failed)


@main.command()
@click.argument("jobs", nargs=-1, required=True, metavar="JOB...")
@click.option(
    "--save",
    type=click.Path(path_type=Path),
    default=Path(),
    help="A folder; or a file, or - for standard output, with one job.",
)
@click.option("--output", "name", help="Which of several outputs; all when it is not given.")
@click.option("--format", "format_", help="Which of several formats.")
@click.pass_obj
def get(session: _Session, jobs: tuple[str, ...], save: Path, name: str | None, format_: str | None) -> None:
    """Download the thumbnails of jobs that are complete."""
    if save.is_dir():
        session.each(
            jobs, lambda job: _save(session, session.client.job(job), save, name, format_), _PARALLEL
        )
    elif len(jobs) > 1:
        raise click.UsageError("With several jobs, --save names a folder that is there.")
    elif str(save) == "-":
        target = sys.stdout.buffer
        session.each(jobs, lambda job: session.client.get(job, target, output=name, format=format_))
        target.flush()
    else:
        session.each(jobs, lambda job: session.client.get(job, save, output=name, format=format_))
    sys.exit(session.failed)


@main.command()
@click.option("--status", help="pending, processing, complete, failed, cancelled; several with commas.")
@click.option("-n", "--limit", type=click.IntRange(1), default=20, show_default=True)
@click.pass_obj
def ls(session: _Session, status: str | None, limit: int) -> None:
    """List jobs, newest first."""
    try:
        for number, job in enumerate(session.client.jobs(status=status)):
            if number == limit:
                break
            session.show(_row(job), job.document)
    except ClientError as error:
        raise click.ClickException(str(error)) from None


@main.command()
@click.argument("jobs", nargs=-1, required=True, metavar="JOB...")
@click.option("--timeout", type=click.FloatRange(0), help="Seconds; for ever when it is not given.")
@click.pass_obj
def wait(session: _Session, jobs: tuple[str, ...], timeout: float | None) -> None:
    """Wait until jobs have ended. Status 1 when one of them is not complete."""
    session.each(jobs, lambda job: _finish(session, job, None, timeout), _PARALLEL)
    sys.exit(session.failed)


@main.command()
@click.argument("jobs", nargs=-1, required=True, metavar="JOB...")
@click.pass_obj
def rm(session: _Session, jobs: tuple[str, ...]) -> None:
    """Delete jobs, with their originals and thumbnails."""
    session.each(jobs, session.client.remove)
    sys.exit(session.failed)


def _options(choices: Mapping[str, Any]) -> dict[str, Any]:
    options = {name: choices[name] for name in ("width", "height", "fit", "quality")}
    options["format"] = choices["format_"]
    for text in choices["more"]:
        name, separator, value = text.partition("=")
        if not separator:
            raise click.UsageError(f"--option is NAME=VALUE, not {text}.")
        options[name] = value
    return {name: value for name, value in options.items() if value is not None}


def _show_outcome(session: _Session, outcome: Outcome) -> None:
    if outcome.job is None:
        session.fail(f"{outcome.path}: {outcome.error}")
        return
    note = "  (uploaded before)" if outcome.known else ""
    session.show(
        f"{outcome.job.id}  {outcome.path}{note}", {"path": str(outcome.path), **outcome.job.document}
    )


def _finish(session: _Session, name: str, save: Path | None, timeout: float | None = None) -> None:
    job = session.client.wait(name, timeout)
    if job.status != "complete":
        session.fail(f"{name}: {job.status}{f': {job.error}' if job.error else ''}")
    elif save is not None:
        _save(session, job, save, None, None)
    else:
        session.show(_row(job), job.document)


def _save(session: _Session, job: Job, folder: Path, name: str | None, format_: str | None) -> None:
    wanted = [
        output
        for output in job.outputs
        if name in {None, output["name"]} and format_ in {None, output["format"]}
    ]
    if not wanted:
        raise ClientError("There is no such thumbnail (yet).")
    stem = Path(job.file_name or job.id).stem or job.id
    several_names = len({output["name"] for output in job.outputs}) > 1
    for output in wanted:
        part = f"-{output['name']}" if several_names else ""
        # The id keeps pictures of the same name apart, and a second download from making a second file.
        target = (
            folder / f"{stem}{part}-{output['width']}x{output['height']}-{job.id[-6:]}.{output['format']}"
        )
        session.client.get(job.id, target, output=output["name"], format=output["format"])
        session.show(str(target), {"path": str(target), **output})


def _row(job: Job) -> str:
    outputs = " ".join(f"{each['width']}x{each['height']}" for each in job.outputs)
    detail = job.error or outputs
    return (
        f"{job.id}  {job.status:<10}  {job.document['createdAt']}  {job.file_name or '-'}  {detail}".rstrip()
    )


if __name__ == "__main__":
    main()
