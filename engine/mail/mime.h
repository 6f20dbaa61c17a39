/*
 * mime.h - a mail as bytes: headers, parts, encodings
 *
 * Pure: fields in, an RFC 5322 message out, with CRLF line ends and nothing but ASCII in it, so that no relay has to change a
 * byte and a DKIM signature (dkim.h) stays valid. Sources: RFC 5322, 2045 to 2047, 2183, 2231, 2369, 8058.
 *
 *   Date From To Reply-To Subject Message-ID MIME-Version, the caller's headers, Content-Type
 *   multipart/mixed [ multipart/related [ multipart/alternative [ text/plain text/html ] inline pictures ] attachments ]
 *   A level with one child is left out.
 *
 * Texts are quoted-printable, or base64 when a sixth of them is not ASCII; their line ends may be of any kind. Header texts that
 * are not ASCII become encoded words of whole characters. A control character in a header field is an error (injection), in a
 * display name or subject as well.
 *
 * The boundaries come from `seed`: the same message gives the same bytes at every attempt. No content can hold one: they begin with
 * "=_", which neither encoding makes.
 *
 * Ownership: everything stays the caller's; out grows. Threads: any.
 */
#ifndef HM_MAIL_MIME_H
#define HM_MAIL_MIME_H

#include "base/buf.h"
#include "base/err.h"

struct hm_mime_header {
	struct hm_str name, value; /* written as they are, folded at blanks; UTF-8 becomes encoded words */
};
struct hm_mime_attachment {
	struct hm_str name, type; /* "发票.pdf", "application/pdf" (default application/octet-stream) */
	struct hm_str data;	  /* bytes */
	struct hm_str cid;	  /* a picture of the HTML: <img src="cid:..."> */
};
struct hm_mime_mailbox {
	struct hm_str name, addr; /* the name may be empty */
};
struct hm_mime {
	struct hm_mime_mailbox from, to, reply_to; /* reply_to.addr may be empty */
	struct hm_str subject;
	struct hm_str message_id; /* with its angle brackets */
	uint64_t date_s;	  /* Unix */
	const struct hm_mime_header *headers;
	size_t n_headers;
	struct hm_str text, html; /* one of them at least */
	const struct hm_mime_attachment *attachments;
	size_t n_attachments;
	struct hm_str seed; /* of the boundaries */
};
#define HM_MIME_ATTACHMENTS 32

/* HM_EINVAL with the field and a sentence; HM_ELIMIT, HM_ENOMEM from out. */
int hm_mime_write(const struct hm_mime *m, struct hm_buf *out, struct hm_err *e) HM_MUSTCHECK;

/* The domain of an address in ASCII ("例子.cn" is refused: write xn--...); empty when there is no @. */
struct hm_str hm_mail_domain(struct hm_str addr);
/* "=?UTF-8?B?...?=" words as needed, folded; what a header line already holds is told by column. */
void hm_mime_text(struct hm_buf *out, struct hm_str text, size_t column);
/* Quoted-printable and base64 of a text part, line ends made CRLF. */
void hm_mime_quoted(struct hm_buf *out, struct hm_str text);
void hm_mime_base64(struct hm_buf *out, struct hm_str bytes);

#endif
