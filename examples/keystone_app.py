"""imageapi with keystonemiddleware in front, configured by one file.

    gunicorn --config gunicorn.conf.py keystone_app:application

The file has imageapi's sections, and [keystone_authtoken] with the settings that
keystone-paste.ini beside this file has under [filter:authtoken], but for the first.
"""

import os

from keystonemiddleware.auth_token import AuthProtocol

import imageapi

conf = imageapi.load_config([os.environ["IMAGEAPI_CONFIG_FILE"]])
application = AuthProtocol(imageapi.ImageAPI(conf), {"oslo_config_config": conf})
