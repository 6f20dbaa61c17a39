/* HM_SUPPRESS_REASON(NAME, text in the lists, the API and files, sentence) */
HM_SUPPRESS_REASON(UNSUBSCRIBE, "unsubscribe", "the recipient does not want them any more")
HM_SUPPRESS_REASON(HARD_BOUNCE, "hard_bounce", "the mailbox or number does not exist")
HM_SUPPRESS_REASON(COMPLAINT, "complaint", "the recipient reported a message as spam")
HM_SUPPRESS_REASON(INVALID_TOKEN, "invalid_token", "the provider says that the address is no longer valid")
HM_SUPPRESS_REASON(MANUAL, "manual", "somebody put it on the list")
