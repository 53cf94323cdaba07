"""URLs that allow one request for a while, as S3's presigned URLs do."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from dandify.archive.rules import Refused


@dataclass(frozen=True)
class Signer:
    """Signs and checks requests with a secret of the archive.

    Attributes
    ----------
    secret
        The key of the HMAC-SHA256.
    """

    secret: bytes

    def sign(self, method: str, path: str, *, seconds: float, **claims: str) -> str:
        """Return ``path`` with a query that lets ``method`` through for ``seconds``.

        ``claims`` (a size, a checksum) travel in the query and are what the request is held to.
        """
        query = {**claims, "expires": f"{time.time() + seconds:.0f}"}
        return f"{quote(path)}?{urlencode({**query, 'signature': self._signature(method, path, query)})}"

    def check(self, method: str, path: str, query: Mapping[str, str]) -> dict[str, str]:
        """Return the claims of a signed request.

        Raises
        ------
        Refused
            403: no signature, a signature of something else, or an expired one.
        """
        claims = {key: value for key, value in query.items() if key != "signature"}
        expected = self._signature(method, path, claims)
        if not hmac.compare_digest(expected.encode(), query.get("signature", "").encode()):
            raise Refused(403, "SignatureDoesNotMatch: this URL was not issued by the archive, or was altered.")
        # Only what carries a right signature is parsed: expires is the archive's own text.
        if float(claims["expires"]) <= time.time():
            raise Refused(403, "AccessDenied: the URL has expired; ask for a new one.")
        return claims

    def _signature(self, method: str, path: str, query: Mapping[str, str]) -> str:
        text = f"{method}\n{path}\n{urlencode(sorted(query.items()))}"
        return hmac.new(self.secret, text.encode(), hashlib.sha256).hexdigest()
