/* HM_OUTCOME(NAME, text, retryable on the same channel, counts against the channel's health, sentence for operators) */
HM_OUTCOME(OK, "ok", 0, 0, "The provider accepted the message.")
HM_OUTCOME(RETRY, "retry", 1, 0, "A passing fault; the same request may succeed later.")
HM_OUTCOME(RATE_LIMITED, "rate_limited", 1, 0, "The provider asks to slow down.")
HM_OUTCOME(INVALID_RECIPIENT, "invalid_recipient", 0, 0, "The address is wrong or gone; it should not be used again.")
HM_OUTCOME(BAD_REQUEST, "bad_request", 0, 0, "The provider refuses this content or these parameters for good.")
HM_OUTCOME(AUTH, "auth", 1, 1, "The credential was refused; it is refreshed once, then an operator is needed.")
HM_OUTCOME(PROVIDER_DOWN, "provider_down", 1, 1, "The provider cannot be reached or says it is unavailable.")
HM_OUTCOME(UNKNOWN, "unknown", 0, 1, "The request left but its answer was lost or not understood; it may have been delivered.")
