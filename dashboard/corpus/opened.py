"""Which folder the data set may be in."""

from __future__ import annotations

from urllib.parse import urlsplit

import streamlit as st

from core import settings

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PROXIED = ("X-Forwarded-For", "X-Forwarded-Host", "Forwarded", "X-Real-Ip")


def is_local() -> bool:
    """Whether this page is open on the machine that serves it, and on it alone: only there may a visitor name folders."""
    headers = st.context.headers
    host = urlsplit(f"//{headers.get('Host', '')}").hostname
    return (
        not settings.fixed_models()
        and st.get_option("server.address") in _LOOPBACK
        and host in _LOOPBACK
        and not any(headers.get(name) for name in _PROXIED)
    )
