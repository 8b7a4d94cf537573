"""The console: web pages that show schedules, and on one machine act on them.

:func:`kubesweep_console.app.build_console` makes the aiohttp application. What it shows comes from a
:class:`kubesweep_console.provider.DataProvider`, of which each program that serves the console has its own.
"""
