# SPDX-License-Identifier: Apache-2.0
"""Who sends a request, which images and properties it may see, and what the policy allows."""

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence

from webob import Request

from imageapi.caller import Caller, from_environ
from imageapi.config.plugins import Backends
from imageapi.download.opener import log_failure
from imageapi.errors import (
    BackendError,
    BackendUnavailable,
    BadReply,
    ImageNotFound,
    MalformedImage,
    bug_in,
    only_backend_errors,
    unexpected,
)
from imageapi.image import Image
from imageapi.policy.property_protections import PropertyReader
from imageapi.protocol import error_responses
from imageapi.visibility import Visibility

LOG = logging.getLogger(__name__)

# The policy's target if the answer is that of an absent image, or about no single image.
_NO_IMAGE: Mapping[str, object] = {}


class PolicyUnavailable(BackendUnavailable):
    """The policy cannot decide for now.  The text names the policy; it is logged already."""


class Authorization:
    """Decides for the registry and the policy of a configuration; thread-safe."""

    def __init__(self, backends: Backends) -> None:
        self._registry = backends.registry
        self._policy = backends.policy
        self._protections = backends.protections
        self._admin_roles = backends.admin_roles

    def caller(self, request: Request) -> Caller:
        """Return who sends a request.

        :raises BackendError: the embedding application passed something else.
        """
        try:
            return from_environ(request.environ, self._admin_roles)
        except BackendError as error:
            LOG.error("%s", error)
            raise

    def find(
        self, image_id: str, caller: Caller, actions: Sequence[str], *, newest: bool = False
    ) -> Image:
        """Return an image if the caller may know of it.

        :param actions: what the policy must allow for an absent image, before the answer
            says that it is absent.
        :param newest: whether the registry must return the record as it is now.
        :raises exc.HTTPException: the image is absent or hidden; the answer is the same.
        :raises BackendError: the registry fails, or the record is malformed.
        """
        with self.blaming_the_registry(f"image {image_id!r}"):
            image = self._look_up(image_id, caller, newest=newest)
        if image is not None and self.may_know(image, caller):
            return image
        if all(self.allows(action, caller, _NO_IMAGE) for action in actions):
            raise error_responses.not_found(image_id)
        raise error_responses.forbidden(image_id)

    @contextlib.contextmanager
    def blaming_the_registry(self, subject: str) -> Iterator[None]:
        """Turn any other exception of the block into a `BackendError`, and log it.

        It is a bug of the registry: it raised the exception, or made an image with values
        that no field or property can have.

        :param subject: begins the line of the log.
        """
        try:
            yield
        except BackendError:
            raise
        except Exception as error:
            foreign = unexpected(self._registry, error)
            LOG.error("%s: %s", subject, foreign, exc_info=error)
            raise foreign from None

    def _look_up(self, image_id: str, caller: Caller, *, newest: bool) -> Image | None:
        """Return the registry's image; None if the answer is that of an absent image."""
        registry = self._registry
        try:
            backend = registry.backend
            get = backend.get_newest if newest else backend.get
            image: object = get(image_id, caller)
            if not isinstance(image, Image):
                kind = type(image).__name__
                raise BackendError(f"get() must return an imageapi.Image, not {kind}")
            if image.id != image_id:
                other = f"{image.id!r:.100}"
                raise MalformedImage(f"get() returned another image, {other}", image.visibility)
            return image
        except ImageNotFound:
            return None
        except BackendError as error:
            log_failure(image_id, registry, error)
            if self._tells_of_a_hidden_image(error, caller):
                return None
            raise

    def _tells_of_a_hidden_image(self, error: BackendError, caller: Caller) -> bool:
        """Whether reporting the error would reveal an image that the caller may not know of."""
        if caller.is_admin or not isinstance(error, MalformedImage | BadReply):
            return False
        if error.visibility is not None:
            return not self.may_know(error.visibility, caller)
        decided = self._registry.backend.decides_visibility
        return isinstance(error, MalformedImage) and not decided

    def may_know(self, image: Image | Visibility, caller: Caller) -> bool:
        """Whether the caller may know that an image exists (docs/wire.md, Who gets what)."""
        if caller.is_admin:
            return True
        if image.is_deleted:
            return False
        if self._registry.backend.decides_visibility or image.is_public:
            return True
        project = caller.project_id
        return bool(project) and (project == image.owner or project in image.members)

    def reader(self, caller: Caller) -> PropertyReader:
        """Return which properties a caller may read (docs/wire.md, Protected properties)."""
        return self._protections.reader(caller, self.allows)

    def shown(self, image: Image, caller: Caller) -> Image:
        """Return an image with the properties that a caller may read.

        :raises BackendError: the registry made an image whose properties have no names.
        """
        with self.blaming_the_registry(f"image {image.id!r}"):
            return self.reader(caller).shown(image)

    def allows(self, action: str, caller: Caller, target: Mapping[str, object] = _NO_IMAGE) -> bool:
        """Whether the policy allows an action; no if the policy has a bug.

        :param target: empty if the action is about no single image.
        :raises PolicyUnavailable: the policy raised `BackendUnavailable`.
        """
        try:
            return self._policy.backend.allows(action, caller, target) is True
        except BackendUnavailable as error:
            failure = self._undecided(action, error)
            LOG.error("%s", failure)
            raise failure from None
        except Exception:
            LOG.exception("%s failed, so %s is refused", self._policy, action)
            return False

    def _undecided(self, action: str, error: BackendError) -> PolicyUnavailable:
        retry_after = error.retry_after if isinstance(error, BackendUnavailable) else None
        return PolicyUnavailable(f"{self._policy} cannot decide {action}: {error}", retry_after)


class StrictAuthorization(Authorization):
    """Decides for commands: a policy with a bug fails, and refuses nothing."""

    def allows(self, action: str, caller: Caller, target: Mapping[str, object] = _NO_IMAGE) -> bool:
        """Whether the policy allows an action.

        :raises PolicyUnavailable: the policy raised any exception.
        """
        try:
            with only_backend_errors(self._policy):
                return self._policy.backend.allows(action, caller, target) is True
        except BackendError as error:
            if (bug := bug_in(error)) is not None:
                LOG.error("%s", error, exc_info=bug)
            raise self._undecided(action, error) from None
