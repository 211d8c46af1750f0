"""The janitor and the eraser of a controller, put together: for every process that runs one."""

import time
from collections.abc import Collection

from thumbnails_common.objectstore import ObjectStore

from .controller import Controller, utc_now
from .eraser import Eraser
from .janitor import Janitor
from .settings import OperatorSettings


def create_cleaners(
    objects: ObjectStore,
    controller: Controller,
    settings: OperatorSettings,
    *,
    namespaces: Collection[str] | None = None,
) -> tuple[Janitor, Eraser]:
    """Both are told what the controller knows; the caller runs them once all jobs are known.

    `namespaces` are those whose jobs the controller knows (None: all).
    """
    janitor = Janitor(
        objects,
        controller.jobs,
        settings,
        controller.run_blocking,
        utc_now,
        unreadable=controller.unreadable,
        held=controller.held,
        namespaces=namespaces,
    )
    controller.on_job_gone(deleted=janitor.job_deleted, kept=janitor.job_kept)
    eraser = Eraser(
        objects,
        janitor,
        controller.owned,
        controller.delete_job,
        controller.held,
        settings,
        controller.counts,
        controller.run_blocking,
        clock=utc_now,
        monotonic=time.monotonic,
        namespaces=namespaces,
    )
    return janitor, eraser
