# SPDX-License-Identifier: Apache-2.0
"""imageapi configured in code, without a file.

In a folder that contains the folders registry, images and archive:

    gunicorn --worker-class gthread --threads 8 --no-control-socket config_in_code:application

Images are at /v1/images/{image_id}.
"""

from pathlib import Path

import imageapi
from imageapi.opts import list_opts

# A directory must be an absolute path.
FOLDER = Path.cwd()

SETTINGS = {
    "imageapi": {"stores": ["file", "archive:file"], "verify_checksum": "always"},
    "imageapi_registry_file": {"directory": str(FOLDER / "registry")},
    "imageapi_store_file": {"directory": str(FOLDER / "images")},
    "imageapi_store_archive": {"directory": str(FOLDER / "archive")},
}

# The shipped options by section.  A backend with another name has the options of its driver.
options = dict(list_opts())
options["imageapi_store_archive"] = options["imageapi_store_file"]

conf = imageapi.load_config([])
for section, settings in SETTINGS.items():
    conf.register_opts(options[section], group=section)
    for name, value in settings.items():
        conf.set_override(name, value, group=section)

application = imageapi.ImageAPI(conf)
