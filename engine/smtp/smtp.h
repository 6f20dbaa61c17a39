/*
 * smtp.h - mail to a relay or a mail provider: SMTP submission, RFC 5321, 4954 (AUTH), 3207 (STARTTLS), 8314 (smtps://)
 *
 * A driver (wire/driver.h) on libcurl, which keeps the connections of an origin and sends one mail after the other on each.
 *
 *   method   SEND
 *   headers  mail-from: envelope sender (empty: the null sender <>), rcpt-to: one recipient, bearer: a token for XOAUTH2 (RFC 7628 also)
 *   body     the mail, CRLF, as mail/mime.h makes it; libcurl stuffs the dots
 *
 *   status   code of the reply that decided: 250 after the final dot, else the one that refused
 *   answer   its text, all lines, without the code
 *   headers  stage: connect, hello, starttls, auth, mail, rcpt, data, end; enhanced: "5.1.1" where there is one (RFC 3463)
 *
 * Session (endpoint.session): user, password, auth (a mechanism, else the best the server offers; with XOAUTH2 the password is the
 * token), starttls (required, try, no), helo.
 *
 * Fate: until the last byte of the mail was handed over nothing has been taken, since a mail without its final dot is none:
 * NOT_SENT. After that a lost answer is MAYBE. A kept connection that the server had closed meanwhile is no failure: the mail
 * goes out on another.
 */
#ifndef HM_SMTP_SMTP_H
#define HM_SMTP_SMTP_H

#include "wire/driver.h"

extern const struct hm_driver_ops hm_smtp_driver;

#endif
