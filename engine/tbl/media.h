/* HM_MEDIUM(NAME, text) */
HM_MEDIUM(PUSH, "push")
HM_MEDIUM(SMS, "sms")
HM_MEDIUM(EMAIL, "email")
HM_MEDIUM(CHAT, "chat")
HM_MEDIUM(VOICE, "voice")
HM_MEDIUM(INBOX, "inbox")
HM_MEDIUM(WEBHOOK, "webhook")
