"""The command `thumbnails`: put, get, ls, wait, rm, login, logout, against any server.

Results go to standard output, one a line (`--json`: one JSON document a line, failures too), all else to
standard error. The exit status is 0 when all went well, 1 when something did not, 2 for a wrong command
line, 3 when the server does not answer, 4 when it does not take the key, 130 when interrupted.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final

import click
from tqdm import tqdm

from .client import DEFAULT_URL, Client, Job
from .errors import ClientError, NotAnswered, Problem
from .journal import Journal, default_path
from .key_file import KeyFile
from .uploads import Outcome, Uploader, find_pictures

FAILED: Final = 1
NOT_ANSWERED: Final = 3
NO_ACCESS: Final = 4
_SIGNALED: Final = 128  # as shells have it: 130 is SIGINT

_FITS: Final = ("cover", "contain", "inside", "outside", "fill")
_PARALLEL: Final = 4
_SLASHES: Final = tuple(filter(None, ("/", os.sep, os.altsep)))
_QUIET_SECONDS: Final = 2.0  # a wait that nobody notices

_HINTS: Final[Mapping[int, str]] = {
    NOT_ANSWERED: "Is the service running there? --server or THUMBNAILS_URL says where it is.",
    NO_ACCESS: "`thumbnails login` keeps a key for this server; THUMBNAILS_KEY takes its place.",
}


class _Session:
    """What all commands share."""

    def __init__(self, url: str, key: str | None, *, as_json: bool) -> None:
        self.client = Client(url, key, on_wait=self._tell_wait)
        self.key = key
        self.as_json = as_json
        self.status = 0
        self.last_words: Callable[[], str] = lambda: "Interrupted."
        self._lock = threading.Lock()
        self._quiet_until = 0.0

    def show(self, line: str, document: Mapping[str, Any]) -> None:
        """One result."""
        click.echo(json.dumps(document) if self.as_json else line)

    def fail(self, name: str, error: ClientError | OSError) -> None:
        """One thing that did not go well; others may."""
        status = _status_of(error)
        text = error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)
        with self._lock:
            is_new = status > self.status
            self.status = max(self.status, status)
        if self.as_json:
            reason = error.reason if isinstance(error, Problem) else type(error).__name__
            click.echo(json.dumps({"name": name, "error": {"reason": reason, "message": text}}))
        else:
            click.echo(f"{name}: {text}", err=True)
            if is_new and status in _HINTS:
                click.echo(_HINTS[status], err=True)

    def each(self, names: Iterable[str], do: Callable[[str], object], parallel: int = 1) -> None:
        """Do it for each job; one that cannot be done does not stop the others."""

        def attempt(name: str) -> None:
            try:
                do(name)
            except (ClientError, OSError) as error:
                self.fail(name, error)

        with ThreadPoolExecutor(parallel) as pool:
            list(pool.map(attempt, names))

    def end(self) -> None:
        """With the status that fits what went wrong."""
        sys.exit(self.status)

    def _tell_wait(self, seconds: float, why: ClientError) -> None:
        with self._lock:
            now = time.monotonic()
            if seconds < _QUIET_SECONDS or now < self._quiet_until:
                return
            self._quiet_until = now + seconds
        tqdm.write(f"{why} Trying again in {seconds:.0f} s.", file=sys.stderr)

    def interrupted(self, number: int, _frame: FrameType | None) -> None:
        """End at once: threads that wait for a server would hold us up; what they do can be done again."""
        with suppress(OSError, RuntimeError):  # the signal may have come amid a write
            sys.stdout.flush()
            clear = "\r\033[K" if sys.stderr.isatty() else ""
            sys.stderr.write(f"{clear}{self.last_words()}\n")
            sys.stderr.flush()
        os._exit(_SIGNALED + number)


def _status_of(error: Exception) -> int:
    if isinstance(error, NotAnswered):
        return NOT_ANSWERED
    return NO_ACCESS if isinstance(error, Problem) and error.no_access else FAILED


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 all went well, 1 something did not, 2 wrong command, 3 no answer, 4 no access.",
)
@click.option(
    "--server", envvar="THUMBNAILS_URL", default=DEFAULT_URL, show_default=True, help="Where the service is."
)
@click.option(
    "--key",
    envvar="THUMBNAILS_KEY",
    help="The API key. (In a command line others can read it: better in the variable, or by `login`.)",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line.")
@click.version_option(package_name="thumbnails")
@click.pass_context
def main(context: click.Context, server: str, key: str | None, as_json: bool) -> None:
    """Make thumbnails with a thumbnail service. THUMBNAILS_URL and THUMBNAILS_KEY say where and as whom."""
    if not server.startswith(("http://", "https://")):
        raise click.UsageError(f"The server is an http or https URL, not {server}.")
    if not key and context.invoked_subcommand not in {"login", "logout"}:
        with _as_usage():
            key = KeyFile.of_user(os.environ).key_for(server)
    context.obj = session = _Session(server, key, as_json=as_json)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, session.interrupted)
    context.call_on_close(session.client.close)


@main.command()
@click.pass_obj
def login(session: _Session) -> None:
    """Ask for an API key, try it, and keep it for this server, in a file that only you can read.

    Without a terminal the key is read from standard input.
    """
    terminal = sys.stdin.isatty()
    key = session.key or (click.prompt("API key", hide_input=True) if terminal else sys.stdin.readline())
    key = key.strip()
    if not key:
        raise click.UsageError("There is no key.")
    try:
        with Client(session.client.url, key) as client:
            client.check()
    except ClientError as error:
        session.fail("login", error)
        session.end()
    keys = KeyFile.of_user(os.environ)
    with _as_usage():
        keys.keep(session.client.url, key)
    click.echo(f"The key for {session.client.url} is kept in {keys.path}.", err=True)


@main.command()
@click.pass_obj
def logout(session: _Session) -> None:
    """Forget the key of this server."""
    with _as_usage():
        had = KeyFile.of_user(os.environ).forget(session.client.url)
    click.echo("The key is forgotten." if had else "There was no key.", err=True)


@main.command()
@click.argument("paths", nargs=-1, required=True, metavar="FILE|FOLDER|PATTERN...")
@click.option("--width", type=int, help="In pixels.")
@click.option("--height", type=int, help="In pixels.")
@click.option("--fit", type=click.Choice(_FITS), help="How the picture fits into width and height.")
@click.option("--format", "format_", help="auto, jpeg, png, webp, avif, gif, tiff; several with commas.")
@click.option("--quality", type=click.IntRange(1, 100))
@click.option("--preset", help="Thumbnails that the administrator gave a name.")
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
    with _as_usage():
        files = find_pictures(paths)
        total = sum(file.stat().st_size for file in files)
        if choices["save"] is not None:
            choices["save"].mkdir(parents=True, exist_ok=True)
        journal = Journal(default_path(os.environ))
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
        session.last_words = lambda: (
            f"{len(done)} of {len(files)} are uploaded; the same command goes on with the others."
        )
        for outcome in uploader.run(files, parallel=choices["parallel"]):
            done.append(outcome)
            bar.set_description_str(f"{len(done)} of {len(files)}", refresh=False)
            with tqdm.external_write_mode(file=sys.stdout, nolock=False):
                _show_outcome(session, outcome)
    if len(done) < len(files):
        click.echo(f"{len(files) - len(done)} were not begun; the same command goes on with them.", err=True)
    if choices["wait"] or choices["save"] is not None:
        session.last_words = lambda: "All are uploaded; the same command goes on with waiting for them."
        jobs = {outcome.job.id: outcome for outcome in done if outcome.job is not None}
        session.each(jobs, lambda name: _finish(session, name, choices["save"]), choices["parallel"])
    session.end()


@main.command()
@click.argument("jobs", nargs=-1, required=True, metavar="JOB...")
@click.option(
    "--save",
    type=click.Path(),
    default="",
    callback=lambda _context, _option, value: _place(value),
    help="A folder; or a file, or - for standard output, with one job. A folder/ is made.",
)
@click.option("--output", "name", help="Which of several outputs; all when it is not given.")
@click.option("--format", "format_", help="Which of several formats.")
@click.option("--original", is_flag=True, help="The pictures that were uploaded, in place of thumbnails.")
@click.pass_obj
def get(
    session: _Session,
    jobs: tuple[str, ...],
    save: Path,
    name: str | None,
    format_: str | None,
    original: bool,
) -> None:
    """Download the thumbnails of jobs that are complete.

    Interrupted, and called again, it goes on where it was.
    """
    session.last_words = lambda: "Interrupted; the same command goes on where it was."
    if original:
        _get_originals(session, jobs, save)
    elif save.is_dir():
        session.each(
            jobs, lambda job: _save(session, session.client.job(job), save, name, format_), _PARALLEL
        )
    elif len(jobs) > 1:
        raise click.UsageError("With several jobs, --save names a folder: one that is there, or folder/.")
    elif str(save) == "-":
        target = sys.stdout.buffer
        session.each(jobs, lambda job: session.client.get(job, target, output=name, format=format_))
        target.flush()
    else:
        session.each(jobs, lambda job: session.client.get(job, save, output=name, format=format_))
    session.end()


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
        session.fail("ls", error)
    session.end()


@main.command()
@click.argument("jobs", nargs=-1, required=True, metavar="JOB...")
@click.option("--timeout", type=click.FloatRange(0), help="Seconds; for ever when it is not given.")
@click.pass_obj
def wait(session: _Session, jobs: tuple[str, ...], timeout: float | None) -> None:
    """Wait until jobs have ended. Status 1 when one of them is not complete."""
    session.each(jobs, lambda job: _finish(session, job, None, timeout), _PARALLEL)
    session.end()


@main.command()
@click.argument("jobs", nargs=-1, required=True, metavar="JOB...")
@click.pass_obj
def rm(session: _Session, jobs: tuple[str, ...]) -> None:
    """Delete jobs, with their originals and thumbnails."""
    session.each(jobs, session.client.remove)
    session.end()


@contextmanager
def _as_usage() -> Iterator[None]:
    """What is wrong with files of this machine is told as what is wrong with a command line is."""
    try:
        yield
    except ClientError as error:
        raise click.UsageError(str(error)) from None
    except OSError as error:
        raise click.UsageError(f"{error.filename}: {error.strerror}") from None


def _options(choices: Mapping[str, Any]) -> dict[str, Any]:
    options = {name: choices[name] for name in ("width", "height", "fit", "quality", "preset")}
    options["format"] = choices["format_"]
    for text in choices["more"]:
        name, separator, value = text.partition("=")
        if not separator:
            raise click.UsageError(f"--option is NAME=VALUE, not {text}.")
        options[name] = value
    return {name: value for name, value in options.items() if value is not None}


def _show_outcome(session: _Session, outcome: Outcome) -> None:
    if outcome.error is not None:
        session.fail(str(outcome.path), outcome.error)
    if outcome.job is None:
        return
    note = "  (uploaded before)" if outcome.known else ""
    session.show(
        f"{outcome.job.id}  {outcome.path}{note}", {"path": str(outcome.path), **outcome.job.document}
    )


def _finish(session: _Session, name: str, save: Path | None, timeout: float | None = None) -> None:
    job = session.client.wait(name, timeout)
    if job.status != "complete":
        session.fail(name, ClientError(f"{job.status}{f': {job.error}' if job.error else ''}"))
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


def _place(name: str) -> Path:
    """Where to save. A name that ends in a slash can be a folder only, and is made one, as `put` does."""
    place = Path(name)
    if name.endswith(_SLASHES):
        with _as_usage():
            place.mkdir(parents=True, exist_ok=True)
    return place


def _get_originals(session: _Session, jobs: tuple[str, ...], save: Path) -> None:
    if len(jobs) > 1 and not save.is_dir():
        raise click.UsageError("With several jobs, --save names a folder: one that is there, or folder/.")

    def fetch(name: str) -> None:
        if str(save) == "-":
            session.client.original(name, sys.stdout.buffer)
            sys.stdout.buffer.flush()
            return
        target = save
        if save.is_dir():
            called = Path(session.client.job(name).file_name or name)
            target = save / f"{called.stem or name}-{name[-6:]}{called.suffix}"
        session.client.original(name, target)
        session.show(str(target), {"path": str(target)})

    session.each(jobs, fetch, _PARALLEL)


def _row(job: Job) -> str:
    outputs = " ".join(f"{each['width']}x{each['height']}" for each in job.outputs)
    detail = job.error or outputs
    return (
        f"{job.id}  {job.status:<10}  {job.document['createdAt']}  {job.file_name or '-'}  {detail}".rstrip()
    )


if __name__ == "__main__":
    main()
