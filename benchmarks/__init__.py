# SPDX-License-Identifier: Apache-2.0
"""How fast imageapi is beside what it can be compared with, in one run.

``python -m benchmarks`` from the repository's folder; ``--help`` lists the choices.
"""
