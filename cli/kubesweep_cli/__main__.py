from __future__ import annotations

from kubesweep_cli.start import main

main()
