from __future__ import annotations

from kubesweep_cli.main import main

main()
