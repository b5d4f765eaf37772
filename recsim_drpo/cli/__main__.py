"""``python -m recsim_drpo.cli``: the commands without an installed script."""

import sys

from recsim_drpo.cli.app import main

sys.exit(main())
