"""Pannscope's pages: they read widgets, call ``core`` and draw; there is no science here."""
