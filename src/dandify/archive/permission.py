"""Whether an account may change a dandiset: asked before anything is validated or sent, which can take hours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dandify.archive.client import UNAPPROVED, Target, not_approved
from dandify.dandiset.describe import YAML
from dandify.errors import BadRequest

_CLOSED: Final = (401, 403)


def require_permission(client: Any, target: Target, root: Path, identifier: str | None) -> None:
    """Refuse what the archive would refuse at the first file.

    Parameters
    ----------
    client
        Of dandi, authenticated.
    target
        Its archive.
    root
        The folder of the dandiset.
    identifier
        Six digits; None for one that is to be created.

    Raises
    ------
    BadRequest
        The account is not approved; there is no such dandiset; it is embargoed and of others; the account is none of
        its owners; its embargo is being lifted, during which the archive takes nothing.
    """
    me = _asked(client, "/users/me/")
    if me and me.get("status") in UNAPPROVED:
        raise not_approved(target, me)
    if identifier is None:
        return
    dandiset = _dandiset(client, target, root / YAML, identifier)
    if dandiset.get("embargo_status") == "UNEMBARGOING":
        raise BadRequest(
            f"the embargo of dandiset {identifier} is being lifted; {target.name} takes no changes meanwhile",
            remedy="upload again when its page says that it is open",
        )
    owners = _asked(client, f"/dandisets/{identifier}/users/")
    if me and owners and not me.get("admin") and not any(_is_same(me, owner) for owner in owners):
        names = ", ".join(sorted(str(o.get("name") or o.get("username")) for o in owners))
        raise BadRequest(
            f"your account {me.get('username')} may not change dandiset {identifier} at {target.name}",
            remedy=f"ask one of its owners to add you on its page: {names}",
        )


def _is_same(me: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    """Whether an owner is the account: of one with several logins the archive may tell one here and another there."""
    return any(me.get(key) and me.get(key) == owner.get(key) for key in ("username", "name"))


def _dandiset(client: Any, target: Target, file: Path, identifier: str) -> Any:
    """Return what the archive says of a dandiset; it keeps embargoed ones to their owners."""
    import requests

    try:
        return client.get(f"/dandisets/{identifier}/")
    except requests.HTTPError as error:
        status = None if error.response is None else error.response.status_code
        if status == 404:
            raise BadRequest(
                f"{target.name} has no dandiset {identifier}",
                file=file,
                place="identifier",
                remedy="upload to the archive it is of; or remove the line and upload with --create",
            ) from error
        if status in _CLOSED:
            raise BadRequest(
                f"dandiset {identifier} at {target.name} is embargoed, and your account is none of its owners",
                file=file,
                place="identifier",
                remedy="ask one of its owners to add you on its page; or remove the line and upload with --create",
            ) from error
        raise


def _asked(client: Any, place: str) -> Any:
    """Return what the archive says there; None if it does not: we can do without."""
    import requests

    try:
        return client.get(place)
    except requests.HTTPError:
        return None
