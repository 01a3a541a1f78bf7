# SPDX-License-Identifier: Apache-2.0
"""The enforcer for oslo.policy's tools, such as ``oslopolicy-validator --namespace imageapi``."""

from oslo_config import cfg
from oslo_policy import opts, policy

from imageapi.config.files import files_from_environment, load_config
from imageapi.config.options import CORE, GROUP
from imageapi.errors import ConfigurationError
from imageapi.policy.rules import RulesPolicy, list_rules


def enforcer() -> policy.Enforcer:
    """Return an enforcer with imageapi's rules and the configured policy file.

    The configuration files are those in IMAGEAPI_CONFIG_FILE, or else the usual ones.

    :raises SystemExit: the configuration cannot be read, or names no policy file.
    """
    try:
        path = _policy_file()
    except ConfigurationError as error:
        raise SystemExit(f"imageapi: {error}") from None
    own_conf = cfg.ConfigOpts()
    own_conf([], default_config_files=[], default_config_dirs=[])
    made = policy.Enforcer(own_conf, policy_file=path)
    made.register_defaults(list_rules())
    # The validator opens the file that this option of its own process names.
    opts._register(cfg.CONF)
    cfg.CONF.set_override("policy_file", path, group="oslo_policy")
    return made


def _policy_file() -> str:
    """Return the path of the configured policy file.

    :raises ConfigurationError: there is none.
    """
    conf = load_config(files_from_environment())
    conf.register_opts(CORE, group=GROUP)
    name, _, driver = conf[GROUP].policy.partition(":")
    section = f"{GROUP}_policy_{name}"
    if (driver or name) != "rules":
        raise ConfigurationError([f"[{GROUP}] policy: {name!r} has no policy file"])
    conf.register_opts(RulesPolicy.options(), group=section)
    file = conf[section].policy_file
    if not file:
        raise ConfigurationError([f"[{section}] policy_file is not set: the default rules apply"])
    path = conf.find_file(file)
    if path is None:
        raise ConfigurationError([f"[{section}] policy_file: file {file!r} not found"])
    return str(path)
