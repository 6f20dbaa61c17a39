"""Alerts: one message that each provider takes, one that it refuses."""
from adapter_cases import Case, says

CASES = {
    "alert/pagerduty": Case(
        "ops", says(202, {"status": "success", "message": "Event processed", "dedup_key": "k"}), says(400, {"status": "invalid event", "errors": ["e"]}),
        "bad_request", {"routing_key": "0123456789abcdef0123456789abcdef"}, "/v2/enqueue"),
    "alert/opsgenie": Case(
        "team:ops", says(202, {"result": "Request will be processed", "took": 0.3, "requestId": "43a29c5c"}),
        says(422, {"message": "Request body is not processable. Please check the errors.", "requestId": "r"}),
        "bad_request", {"api_key": "g3nie-key"}, "/v2/alerts"),
}
