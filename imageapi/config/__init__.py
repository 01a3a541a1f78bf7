# SPDX-License-Identifier: Apache-2.0
"""From configuration files to backends that are ready to use."""
