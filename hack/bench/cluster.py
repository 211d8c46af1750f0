"""`make bench-cluster`: the service on a cluster against bare Jobs and requests; its section of the page.

Everything is measured in turn in one run. A run in which a job was answered from the cache is void.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

import page
from cluster_audit import AuditLog
from cluster_measure import Bench
from cluster_objects import Cluster
from cluster_release import installed
from cluster_report import Figures, report

LOCAL = Path(__file__).parents[2] / ".cluster"
# Short, since each cold job waits until the worker of the one before has ended; long enough that the workers
# of a burst are still there to be asked what they took when the last status is written.
VALUES = {"settings": {"lingerSeconds": 10}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cold", type=int, default=10, help="single jobs with no worker running")
    parser.add_argument("--warm", type=int, default=30, help="single jobs while a worker lingers")
    parser.add_argument("--burst", type=int, default=1000, help="ThumbnailJobs at once")
    parser.add_argument("--photos", type=int, default=0, help="large photos at once, as of `make bench`")
    parser.add_argument("--bare", type=int, default=100, help="bare Jobs at once")
    parser.add_argument("--values", type=Path, help="values of the chart that this cluster needs")
    parser.add_argument("--print-only", action="store_true", help="leave docs/benchmarks.md as it is")
    options = parser.parse_args()
    os.environ.setdefault("KUBECONFIG", str(LOCAL / "kubeconfig"))
    os.environ["PATH"] = f"{LOCAL / 'bin'}:{os.environ['PATH']}"
    kubeconfig = os.environ["KUBECONFIG"]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))  # what is installed is removed
    audit = AuditLog.of_local_cluster(LOCAL, kubeconfig)
    with installed(options.values, VALUES) as release:
        bench = Bench(release, Cluster(kubeconfig), audit)
        cold = bench.cold(options.cold)
        warm = bench.warm(options.warm)
        bare = bench.bare_jobs(options.bare)
        bursts = [bench.burst("small pictures", bench.put_small(options.burst))]
        if options.photos:
            bursts.append(bench.burst("photos", bench.put_photos(options.photos)))
    section = report(Figures(cold, warm, bare, bursts))
    print(section)
    if not options.print_only:
        page.write_section("cluster", section)


if __name__ == "__main__":
    main()
