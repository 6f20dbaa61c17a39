/* HM_CALLBACK_EVENT(NAME, text, receipt, suppress, sentence): what a row of `receipts.events` in an adapter file may call an event.
 * receipt: what the message's record says of it (tbl/receipts.h), -1: nothing; suppress: the reason its address is put on the list
 * with (tbl/suppress_reasons.h), "": it is not. */
HM_CALLBACK_EVENT(DELIVERED, "delivered", HM_RC_DELIVERED, "", "it reached the device or mailbox")
HM_CALLBACK_EVENT(READ, "read", HM_RC_READ, "", "it was read")
HM_CALLBACK_EVENT(OPENED, "opened", HM_RC_READ, "", "it was opened")
HM_CALLBACK_EVENT(CLICKED, "clicked", HM_RC_CLICKED, "", "a link or button of it was used")
HM_CALLBACK_EVENT(FAILED, "failed", HM_RC_FAILED, "", "it did not arrive; of the address that says nothing")
HM_CALLBACK_EVENT(EXPIRED, "expired", HM_RC_FAILED, "", "the provider gave up in time")
HM_CALLBACK_EVENT(INVALID, "invalid", HM_RC_FAILED, "invalid_token", "the address is gone")
HM_CALLBACK_EVENT(BOUNCED, "bounced", HM_RC_FAILED, "hard_bounce", "the mailbox or number does not exist")
HM_CALLBACK_EVENT(SOFT_BOUNCED, "soft_bounced", HM_RC_FAILED, "", "refused for now")
HM_CALLBACK_EVENT(COMPLAINED, "complained", -1, "complaint", "the person called it spam")
HM_CALLBACK_EVENT(UNSUBSCRIBED, "unsubscribed", -1, "unsubscribe", "the person wants no more")
HM_CALLBACK_EVENT(RESUBSCRIBED, "resubscribed", -1, "", "the person wants messages again: off the list")
HM_CALLBACK_EVENT(REPLIED, "replied", -1, "", "the person wrote back")
HM_CALLBACK_EVENT(IGNORED, "ignored", -1, "", "nothing to note")
