# SPDX-License-Identifier: Apache-2.0
"""The core's own options."""

from oslo_config import cfg

GROUP = "imageapi"

CORE = (
    cfg.StrOpt(
        "registry",
        default="file",
        help="The registry that has the image records: NAME or NAME:DRIVER. Without DRIVER, the"
        " driver is NAME. Its options are in the section imageapi_registry_NAME.",
    ),
    cfg.ListOpt(
        "stores",
        default=["file"],
        help="The stores that have the image data, each NAME or NAME:DRIVER. The options of each"
        " are in the section imageapi_store_NAME. A location is opened by the store that it names,"
        " or else by the first store of the list that supports the scheme of its URL. If a record"
        " has no location, its data is in the first store of the list.",
    ),
    cfg.StrOpt(
        "policy",
        default="rules",
        help="The policy: NAME or NAME:DRIVER. imageapi includes rules (oslo.policy) and visible"
        " (a caller who may see an image may download it). Its options are in the section"
        " imageapi_policy_NAME.",
    ),
    cfg.ListOpt(
        "events",
        default=[],
        help="What gets an event for each request, each NAME or NAME:DRIVER. imageapi includes"
        " prometheus (metrics) and notifications (oslo.messaging). The options of each are in the"
        " section imageapi_events_NAME.",
    ),
    cfg.IntOpt(
        "chunk_size",
        default=65536,
        min=1,
        help="How many bytes are read at a time. A slow download holds up to two chunks in memory,"
        " or three if the size of its data is unknown. Over ASGI, a fast download reads chunks of"
        " 768 KiB if chunk_size is smaller.",
    ),
    cfg.StrOpt(
        "public_endpoint",
        default="",
        help="The URL at which clients reach this service, without the API version. It is sent"
        " in X-Image-Meta-Uri. If empty, the URL of each request is used.",
    ),
    cfg.StrOpt(
        "verify_checksum",
        default="once",
        choices=[
            ("always", "Verify each whole download, and each part that reaches the last byte."),
            ("once", "Verify each version of the data once in each process."),
            ("never", "Do not verify, but trust the stores."),
        ],
        help="When imageapi compares data with its checksum. It does so for whole downloads, and"
        " for parts that reach the last byte. If the data is wrong, the last chunk is never sent.",
    ),
    cfg.StrOpt(
        "unsafe_images",
        default="log",
        choices=[
            ("refuse", "Answer a download with 403, and log an error."),
            ("log", "Send the data, and log a warning once for each version."),
            ("serve", "Send the data, and do not examine it."),
        ],
        help="What happens with data that makes programs read other files: qcow2 images with a"
        " backing file or a data file, VMDK images with data in other files, and QED images. The"
        " data decides, and not the format in the record.",
    ),
    cfg.IntOpt(
        "resume_attempts",
        default=3,
        min=0,
        help="How often imageapi tries to open the data of one response again if it breaks off."
        " It continues at the byte that it has reached, and only if the store can tell that the"
        " data is unchanged.",
    ),
    cfg.IntOpt(
        "max_property_headers",
        default=70,
        min=0,
        help="Maximum number of properties that are sent as headers. Python's http.client rejects"
        " responses with more than 100 header lines.",
    ),
    cfg.IntOpt(
        "limit_param_default",
        default=25,
        min=1,
        help="How many images a list has if the request does not say how many.",
    ),
    cfg.IntOpt(
        "api_limit_max",
        default=1000,
        min=1,
        help="How many images a list has at most, whatever the request says.",
    ),
    cfg.StrOpt(
        "property_protection_file",
        help="The property protection file, in Glance's format: which callers may read which"
        " properties of images. A relative path is searched for as that of a policy file. If"
        " unset, callers may read all properties, except those of Glance (os_glance_*).",
    ),
    cfg.StrOpt(
        "property_protection_rule_format",
        default="roles",
        choices=[
            ("roles", "The file names the roles that may read a property."),
            ("policies", "The file names a rule of the policy for each property."),
        ],
        help="What the property protection file names.",
    ),
    cfg.ListOpt(
        "admin_roles",
        default=["admin"],
        help="Roles that may see every image, compared without case. The policy applies to them"
        " too.",
    ),
)
