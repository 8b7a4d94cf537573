from __future__ import annotations

from kubectl_sweep.main import main

main()
