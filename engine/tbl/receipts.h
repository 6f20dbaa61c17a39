/* HM_RECEIPT(NAME, text, level, sentence): what a provider or an app reports of a message that was sent. A higher level says
 * all that a lower one says; level 0 says that it did not arrive. */
HM_RECEIPT(DELIVERED, "delivered", 1, "it reached the device or mailbox")
HM_RECEIPT(READ, "read", 2, "it was opened")
HM_RECEIPT(CLICKED, "clicked", 3, "a link or button of it was used")
HM_RECEIPT(FAILED, "failed", 0, "it was accepted, but did not arrive")
