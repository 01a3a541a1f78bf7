# SPDX-License-Identifier: Apache-2.0
"""For the tests of backends and of embedding applications: suites and fakes."""
