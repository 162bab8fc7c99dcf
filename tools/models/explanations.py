"""What a person can do about a vendor's no, where its code or status says it: pure functions of a call's row."""

from tools.models import catalog

UNVERIFIED = "organization_not_verified"
"""Our own code: OpenAI says it in words alone (403)."""
LICENCE = "5016"
"""Workers AI: the account has not agreed to the model's licence."""
GONE = frozenset({"model_not_found", "5007", "3042", "DeploymentNotFound"})
"""No model of that name: OpenAI's, Workers AI's and Azure's codes; most servers say 404 alone."""


def explain(provider: str, model: str, code: str | None, status: int | None) -> str | None:
    """A sentence that says what to do; None when the signals say nothing that would help."""
    if code == UNVERIFIED:
        return f"OpenAI lets only verified organisations use {model}: verify yours in the settings of its platform"
    if code == LICENCE:
        return (
            f"the licence of {model} is not accepted: read it on the model's page at Cloudflare, and send the model "
            "the prompt “agree” once from your account"
        )
    if status == 404 or code in GONE:
        instead = replacement(provider, model)
        return f"{provider} has no model {model} (any more)" + (f": use {instead}" if instead else "")
    return None


def replacement(provider: str, model: str) -> str | None:
    """The model to use in place of one that is gone: its successor, else the provider's default; None when neither is
    known, or it is the model itself.
    """
    known: list[catalog.ImageModel | catalog.ChatModel] = [
        *catalog.image_models(provider),
        *catalog.chat_models(provider),
    ]
    named = next((each for each in known if each.id == model), None)
    if named is not None and named.successor:
        return named.successor
    chats = {each.id for each in catalog.chat_models(provider)}
    default = next((each.id for each in catalog.offered(provider)), None)
    return None if model in chats or default == model else default
