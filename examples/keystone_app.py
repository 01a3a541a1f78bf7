"""imageapi with keystonemiddleware in front, configured by one file.

    gunicorn --config gunicorn.conf.py keystone_app:application

The file that IMAGEAPI_CONFIG_FILE names has imageapi's sections, and a section
[keystone_authtoken]. This section has the settings of [filter:authtoken] in
keystone-paste.ini (beside this file), without paste.filter_factory.
"""

import os

from keystonemiddleware.auth_token import AuthProtocol

import imageapi

conf = imageapi.load_config([os.environ["IMAGEAPI_CONFIG_FILE"]])
application = AuthProtocol(imageapi.ImageAPI(conf), {"oslo_config_config": conf})
