"""A real single-node Kubernetes on a bare Debian machine: `python3 hack/cluster up`, `down`, `images` ..."""

import argparse
import os
import sys
from pathlib import Path

# Started by its folder's name, this is a program; its modules are found as a package from the checkout.
sys.path[0] = str(Path(__file__).resolve().parent.parent.parent)

from hack.cluster import agents, commands, images, supervisor  # noqa: E402 - after the path is set
from hack.cluster.layout import Layout, layout_from_environment  # noqa: E402
from hack.cluster.record import read_record  # noqa: E402
from hack.cluster.shell import ClusterError  # noqa: E402


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="hack/cluster", description=__doc__)
    todo = parser.add_subparsers(dest="command", required=True)
    todo.add_parser("up", help="make the cluster; harmless when it is up")
    down = todo.add_parser("down", help="end it, and undo everything that it made on this machine")
    down.add_argument("--all", action="store_true", help="also delete .cluster with the loaded images")
    down.add_argument("--force", action="store_true", help="even when it is another checkout's")
    todo.add_parser("status", help="show whether it is up (exit code 0) and which images it has")
    build = todo.add_parser("images", help="build the project's images and load them")
    build.add_argument(
        "--image", nargs=3, action="append", default=[], metavar=("NAME", "DOCKERFILE", "CONTEXT"),
        help="build this one instead (may be repeated)",
    )  # fmt: skip
    load = todo.add_parser("load", help="load archives of images into the cluster")
    load.add_argument("archive", nargs="+", type=Path)
    # What the commands above start in namespaces of their own; nobody calls it by hand.
    agent = todo.add_parser("agent")
    agent.add_argument("what", choices=["node", "network-policy", "volumes", "build"])
    agent.add_argument("words", nargs="*")
    chosen = parser.parse_args(arguments)
    layout = layout_from_environment(os.environ)
    try:
        return _carry_out(chosen, layout)
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; `python3 hack/cluster down` clears what there is.", file=sys.stderr)
        return 130


def _carry_out(chosen: argparse.Namespace, layout: Layout) -> int:
    match chosen.command:
        case "up":
            commands.up(layout, os.environ)
        case "down":
            commands.down(layout, everything=chosen.all, force=chosen.force)
        case "status":
            return 0 if commands.status(layout) else 1
        case "images":
            wanted = [
                images.Image(name, Path(file).absolute(), Path(context).absolute())
                for name, file, context in chosen.image
            ]
            commands.build_images(layout, os.environ, wanted)
        case "load":
            commands.load_archives(layout, chosen.archive)
        case "agent":
            _run_agent(chosen.what, chosen.words, layout)
    return 0


def _run_agent(what: str, words: list[str], layout: Layout) -> None:
    match what:
        case "node":
            record = read_record(layout.record)
            assert record is not None, "written by `up` before this process is started"
            supervisor.run_node(layout, Path(record.programs))
        case "network-policy":
            agents.run_network_policy(layout)
        case "volumes":
            agents.run_volumes(layout)
        case "build":
            builder = images.Builder(layout, os.environ)
            builder.have_base(images.base_archive(layout))
            triples = zip(words[::3], words[1::3], words[2::3], strict=True)
            for name, dockerfile, context in triples:
                _, size = builder.build(images.Image(name, Path(dockerfile), Path(context)))
                print(f"               {name}  {size / 1e6:.0f} MB", flush=True)
            builder.forget_old()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
