/* HM_HISTOGRAM(name, metric (seconds in /metrics), help) */
HM_HISTOGRAM(QUEUE_TO_ACCEPTED, "hermod_queue_to_accepted_seconds", "From the entry's time in the stream to the provider's acceptance")
HM_HISTOGRAM(ATTEMPT, "hermod_attempt_seconds", "From handing a request to the driver to its answer")
HM_HISTOGRAM(HTTP_SUBMIT, "hermod_http_request_seconds", "API request, first byte to answer")
HM_HISTOGRAM(LEDGER_WRITE, "hermod_ledger_write_seconds", "One ledger batch, submit to durable")
