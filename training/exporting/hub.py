"""To the model hub. The token comes from the environment, goes nowhere else, and stands in no message."""

from __future__ import annotations

import os
from pathlib import Path

from curation.errors import WinnowError
from training.exporting.target import MARK

VARIABLE = "HF_TOKEN"


def token() -> str:
    """The hub's token.

    Raises:
        WinnowError: there is none.
    """
    found = os.environ.get(VARIABLE)
    if not found:
        raise WinnowError(f"There is no token for the hub in {VARIABLE}.", fix=f"export {VARIABLE}=... (write access)")
    return found


def push_folder(folder: Path, repository: str, *, public: bool = False) -> str:
    """Upload the files of `folder`; its address there. A repository that is not there yet is made, private or public.

    Raises:
        WinnowError: the hub refuses, or can't be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    secret = token()
    hub = HfApi(token=secret)  # at HF_ENDPOINT, where that is set
    try:
        address = hub.create_repo(repository, private=not public, exist_ok=True)
        hub.upload_folder(
            folder_path=str(folder), repo_id=repository, commit_message="Export from Winnow", ignore_patterns=[MARK]
        )
    except (HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, OSError, ValueError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0].replace(secret, "***")
        raise WinnowError(
            f"The hub did not take {repository}: {said}",
            fix=f"see that {VARIABLE} may write to it, then run the same command again: {folder} is complete",
        ) from None
    return str(address)
