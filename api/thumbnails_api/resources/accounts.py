"""`/accounts/{account}`: the end of all that an account has. Nobody's but the caller's own is there."""

from dataclasses import dataclass
from typing import Any

import falcon

from thumbnails_api.answers import write_json
from thumbnails_api.erasures import Erasures
from thumbnails_common.erasure import Erasure
from thumbnails_contract.errors import AccountNotFound, NotFound
from thumbnails_contract.timestamps import format_time


@dataclass(frozen=True, slots=True)
class Account:
    """`DELETE /accounts/{account}`: that it is named keeps anybody from doing it by mistake."""

    erasures: Erasures

    def on_delete(self, req: falcon.Request, resp: falcon.Response, account: str) -> None:
        """Begin to erase everything, or go on with it: 202. Raises AccountNotFound."""
        _check_own(req, account)
        erasure = self.erasures.request(req.context.caller)
        write_json(resp, erasure_document(erasure))
        resp.status = falcon.HTTP_202
        resp.location = f"/accounts/{account}/erasure"


@dataclass(frozen=True, slots=True)
class AccountErasure:
    """`GET /accounts/{account}/erasure`: how far it is."""

    erasures: Erasures

    def on_get(self, req: falcon.Request, resp: falcon.Response, account: str) -> None:
        """The one that runs, or the last one. Raises AccountNotFound, NotFound."""
        _check_own(req, account)
        erasure = self.erasures.last(req.context.caller)
        if erasure is None:
            raise NotFound("Nobody has asked for this account to be erased, or that was long ago.")
        write_json(resp, erasure_document(erasure))

    on_head = on_get


def erasure_document(erasure: Erasure) -> dict[str, Any]:
    """What clients see of an erasure; how much was erased is known at its end."""
    finished = erasure.finished_at
    return {
        "id": erasure.id,
        "account": erasure.account,
        "status": "running" if finished is None else "done",
        "requestedAt": format_time(erasure.requested_at),
        "finishedAt": None if finished is None else format_time(finished),
        "jobs": None if finished is None else erasure.jobs,
        "objects": None if finished is None else erasure.objects,
    }


def _check_own(req: falcon.Request, account: str) -> None:
    if account != req.context.caller.account:
        raise AccountNotFound
