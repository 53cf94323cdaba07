"""A session of the dandi client with an archive: which one, with which key, and nothing else of the environment."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from dandify.environment import environment, for_dandi
from dandify.errors import BadRequest, DandifyError

LOCAL_PORT = 8765  # where `dandify archive serve` serves if nothing else does
_SHORT_NAMES = {"sandbox": "dandi-sandbox", "local": f"http://127.0.0.1:{LOCAL_PORT}"}
_TIMEOUT_SECONDS = 20
_SAID = 300  # characters of an error
_LOGGERS = ("dandi", "pynwb", "hdmf", "hdmf_zarr", "bidsschematools")  # of the client, and of what it calls
UNAPPROVED = ("INCOMPLETE", "PENDING", "REJECTED")  # dandi-archive, UserMetadata.Status
KEY_VARIABLE = "DANDIFY_API_KEY"  # for archives given by URL, whose variable of dandi's cannot be exported in a shell


@dataclass(frozen=True)
class Target:
    """An archive that answers.

    Attributes
    ----------
    instance
        The dandi client's record of it.
    name
        As dandi calls it: ``dandi``, ``dandi-sandbox``, ``127.0.0.1:8765``.
    api_url
        The base of its API.
    known
        Whether dandi knows it by name.
    """

    instance: Any
    name: str
    api_url: str
    known: bool

    def page(self, dandiset_id: str) -> str:
        """Return the page of a dandiset, or where the API describes it."""
        if self.instance.gui:
            return f"{self.instance.gui}/dandiset/{dandiset_id}/draft"
        return f"{self.api_url}/dandisets/{dandiset_id}/versions/draft/"


@contextmanager
def quiet_dandi(to: str) -> Iterator[None]:
    """Keep the dandi client from calling home and from logging while the block runs.

    Its failures reach the user as our own errors. An archive on this machine is also not asked for through a proxy.
    """
    handler = logging.NullHandler()  # a logger with a handler does not fall back to printing on stderr
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    values = for_dandi()
    if _is_local(to):
        for name in ("no_proxy", "NO_PROXY"):
            values[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1", "localhost", "::1"]))
    for logger in loggers:
        logger.addHandler(handler)
    try:
        with environment(values):
            yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


def find_archive(to: str) -> Target:
    """Return the archive called ``to``: a name that dandi knows, ``sandbox``, ``local`` on this machine, or a URL.

    Raises
    ------
    BadRequest
        No such name.
    DandifyError
        It does not answer, or refuses this version of the client.
    """
    import requests
    from dandi.consts import known_instances
    from dandi.exceptions import CliVersionError
    from dandi.utils import get_instance

    name = _SHORT_NAMES.get(to, to)
    is_url = name.lower().startswith(("http://", "https://"))
    if not is_url and name not in known_instances:
        raise BadRequest(
            f"no archive is called {to!r}",
            remedy=f"give a URL, or one of: {', '.join([*_SHORT_NAMES, *sorted(known_instances)])}",
        )
    # The client retries for minutes and falls back to what it knows; one look first tells the user at once.
    address = name if is_url else known_instances[name].api
    try:
        requests.get(address, timeout=_TIMEOUT_SECONDS, stream=True).close()
    except requests.RequestException as error:
        raise DandifyError(
            f"the archive at {address} cannot be reached: {type(error).__name__}",
            remedy="check the address and the network; an embedded archive is started by: dandify archive serve DIR",
        ) from error
    try:
        instance = get_instance(name)
    except CliVersionError as error:
        raise DandifyError(f"the archive refuses this dandi client: {error}", remedy="pip install -U dandi") from error
    except (RuntimeError, ValueError) as error:
        raise DandifyError(
            f"what answers at {address} is not a DANDI archive", remedy="give the address of the archive itself"
        ) from error
    return Target(instance, instance.name, instance.api.rstrip("/"), instance.name in known_instances)


@contextmanager
def session(target: Target, token: str | None) -> Iterator[Any]:
    """Yield an authenticated `dandi.dandiapi.DandiAPIClient`.

    The key is ``token``, else the variable that dandi looks for (``DANDI_API_KEY``, ``DANDI_SANDBOX_API_KEY``), else
    for an archive given by URL ``DANDIFY_API_KEY``, else what dandi kept in the keyring. It is never shown.

    Raises
    ------
    BadRequest
        No key is found, the archive does not take it, or has not approved its account.
    DandifyError
        The archive and the client do not go together, or a request failed that nobody else dealt with.
    """
    import requests
    from dandi.dandiapi import DandiAPIClient
    from dandi.exceptions import SchemaVersionError

    with DandiAPIClient(dandi_instance=target.instance) as client:
        variable = client.api_key_env_var if target.known else KEY_VARIABLE
        key = token or os.environ.get(client.api_key_env_var) or (os.environ.get(variable)) or _from_keyring(target)
        if not key:
            embedded = "" if target.known else "; dandify archive serve prints that of the archive it serves"
            raise BadRequest(
                f"uploading to {target.name} needs an API key",
                remedy=f"copy it from the archive's page (behind your initials) and set {variable}{embedded}",
            )
        try:
            client.authenticate(key)
        except requests.HTTPError as error:
            if error.response is None or error.response.status_code not in (401, 403):
                raise _trouble(target, error) from error
            if error.response.status_code == 403:  # it knows whose the key is (dandi-archive, auth_token_view)
                raise not_approved(target, _whose(client, key)) from error
            raise BadRequest(
                f"{target.name} does not take the API key",
                remedy=f"copy it again from the archive's page and set {variable}; each archive has its own key",
            ) from error
        except requests.RequestException as error:
            raise _trouble(target, error) from error
        try:
            client.check_schema_version()
        except SchemaVersionError as error:
            raise DandifyError(
                f"{target.name} and this dandi client do not go together: {error}", remedy="pip install -U dandi"
            ) from error
        try:
            yield client
        except requests.RequestException as error:
            raise _trouble(target, error) from error


def not_approved(target: Target, me: Mapping[str, Any]) -> BadRequest:
    """Say that an account may not change anything yet.

    Parameters
    ----------
    target
        The archive.
    me
        What it says of the account; empty if nothing.
    """
    who = f" {me['username']}" if me.get("username") else ""
    state = f" (it is {str(me['status']).lower()})" if me.get("status") in UNAPPROVED else ""
    return BadRequest(
        f"{target.name} has not approved your account{who}{state}",
        remedy="log in on its page, answer what it asks, and wait for the mail; then upload again",
    )


def _whose(client: Any, key: str) -> Mapping[str, Any]:
    """Return what the archive says of the account of a key that it knows and does not let do anything."""
    import requests

    try:
        me = client.get("/users/me/", headers={"Authorization": f"token {key}"})
    except requests.RequestException:
        return {}
    return me if isinstance(me, Mapping) else {}


def answers(url: str) -> bool:
    """Whether anything answers at an address now."""
    import requests

    try:
        requests.get(url, timeout=_TIMEOUT_SECONDS, stream=True).close()
    except requests.RequestException:
        return False
    return True


def reason(error: Any) -> str:
    """Return what the archive said when it refused a request; never the request, which carries the key."""
    answer = error.response
    if answer is None:
        return f"no answer ({type(error).__name__})"
    if "json" in answer.headers.get("Content-Type", ""):
        try:
            said = _sentences(answer.json())
        except ValueError:
            said = answer.text
    elif "html" in answer.headers.get("Content-Type", ""):  # the page of a proxy, or of a crash
        said = answer.reason or ""
    else:
        said = answer.text
    return f"HTTP {answer.status_code}: {said[:_SAID].strip()}"


def _sentences(said: Any) -> str:
    """Return the words of an error of Django's REST framework: a text, a list, or texts by field."""
    if isinstance(said, dict):
        plain = {"detail", "non_field_errors"}
        return "; ".join(_sentences(v) if k in plain else f"{k}: {_sentences(v)}" for k, v in said.items())
    if isinstance(said, list):
        return "; ".join(map(_sentences, said))
    return str(said)


def _trouble(target: Target, error: Any) -> DandifyError:
    return DandifyError(
        f"{target.name} did not carry out a request: {reason(error)}",
        remedy="run it again: what has arrived is not sent twice",
    )


def _from_keyring(target: Target) -> str | None:
    import keyring
    from keyring.errors import KeyringError

    try:
        return keyring.get_password(f"dandi-api-{target.name}", "key")
    except KeyringError:  # no keyring on this machine, or one that wants a screen
        return None


def _is_local(to: str) -> bool:
    host = urlsplit(_SHORT_NAMES.get(to, to)).hostname
    if host is None:
        return False
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
