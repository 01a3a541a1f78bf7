# SPDX-License-Identifier: Apache-2.0
"""Glance's application, for uWSGI. At first a child process runs ``glance-manage db sync``.

Then Glance is imported once for both, which takes most of the time of each.
"""

import os
import sys
import traceback

from glance.cmd import manage

_child = os.fork()
if _child == 0:
    try:
        sys.argv = ["glance-manage", "--config-file", os.environ["GLANCE_MANAGE_CONFIG"]]
        sys.argv += ["db", "sync"]
        os._exit(manage.main() or 0)
    finally:
        # Only after an exception. The child must never become a second uWSGI.
        traceback.print_exc()
        os._exit(1)
if os.waitpid(_child, 0)[1] != 0:
    raise SystemExit("glance-manage failed")

from glance.wsgi.api import application  # noqa: E402, F401 - for uWSGI
