# SPDX-License-Identifier: Apache-2.0
"""The core's own options."""

from oslo_config import cfg

GROUP = "imageapi"

CORE = (
    cfg.StrOpt(
        "registry",
        default="file",
        help="The registry of the images' records: NAME, or NAME:DRIVER. Its options are in"
        " the section imageapi_registry_NAME.",
    ),
    cfg.ListOpt(
        "stores",
        default=["file"],
        help="The stores of the images' data, each NAME or NAME:DRIVER, with its options in"
        " the section imageapi_store_NAME. The first that fits a location opens it; the"
        " first of all has the data of records without a location.",
    ),
    cfg.StrOpt(
        "policy",
        default="rules",
        help="The policy: NAME, or NAME:DRIVER. Shipped are rules (oslo.policy) and visible"
        " (whoever may see an image may download it). Its options are in the section"
        " imageapi_policy_NAME.",
    ),
    cfg.IntOpt(
        "chunk_size",
        default=65536,
        min=1,
        help="How many bytes are read at a time. A slow download holds up to three chunks; a"
        " fast one over ASGI half a MiB more.",
    ),
    cfg.StrOpt(
        "public_endpoint",
        default="",
        help="The URL under which clients reach this service, without the version, for"
        " X-Image-Meta-Uri. When empty, the URL of each request is used.",
    ),
    cfg.StrOpt(
        "verify_checksum",
        default="once",
        choices=[
            ("always", "Verify every whole download."),
            ("once", "Remember what this process has verified, by the data's version."),
            ("never", "Trust the stores."),
        ],
        help="When data is verified against its checksum while it is sent. A download that"
        " turns out wrong is broken off before its last chunk.",
    ),
    cfg.IntOpt(
        "resume_attempts",
        default=3,
        min=0,
        help="How often in one response data that breaks off is asked for again, from the"
        " byte reached. Only where the store can tell that the bytes are the same.",
    ),
    cfg.IntOpt(
        "max_property_headers",
        default=70,
        min=0,
        help="How many properties are sent as headers. Python's own client refuses answers"
        " of more than 100 header lines.",
    ),
    cfg.ListOpt(
        "admin_roles",
        default=["admin"],
        help="Roles, compared without case, that may know of every image. They are not"
        " spared the policy.",
    ),
)
