"""Webhooks: one message that each provider takes, one that it refuses."""
from adapter_cases import Case, says

CASES = {
    "webhook/standard": Case("customer-1", None, says(410), "invalid_recipient", path="/hook/demo"),
}
