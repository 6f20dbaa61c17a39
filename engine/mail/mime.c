/*
 * mime.c - a mail as bytes
 */
#include "mail/mime.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define LINE	 76
#define MAX_ADDR 320

static int bad(struct hm_err *e, const char *field, const char *why)
{
	hm_err_set(e, HM_EINVAL, "%s: %s", field, why);
	hm_err_field(e, field);
	return HM_EINVAL;
}

static bool has_control(struct hm_str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((uint8_t)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return true;
	return false;
}

static bool is_ascii(struct hm_str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((uint8_t)s.p[i] >= 0x80)
			return false;
	return true;
}

/* -- header texts ------------------------------------------------------------------- */

/* Bytes of the UTF-8 character at the front; a byte that begins none stands for itself. */
static size_t char_len(struct hm_str s)
{
	uint8_t c = (uint8_t)s.p[0];
	size_t n = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 1;

	return n > s.len ? 1 : n;
}

/* Encoded words (RFC 2047): "=?UTF-8?B?" and "?=" leave 63 characters of 75, which is 45 bytes of whole characters. */
static void encoded_words(struct hm_buf *out, struct hm_str text, size_t column)
{
	bool first = true;

	while (text.len) {
		size_t room = 45, n = 0;

		if (first && column + 12 + 4 < LINE) {
			size_t fits = (LINE - column - 12) / 4 * 3;

			room = fits < room ? fits : room;
		}
		while (n < text.len) {
			size_t c = char_len(hm_str_n(text.p + n, text.len - n));

			if (n + c > room && n > 0)
				break;
			n += c;
		}
		if (!first)
			hm_buf_lit(out, "\r\n ");
		first = false;
		hm_buf_lit(out, "=?UTF-8?B?");
		hm_buf_base64(out, text.p, n);
		hm_buf_lit(out, "?=");
		text = hm_str_n(text.p + n, text.len - n);
	}
}

/* Long lines are folded before a blank; a word longer than a line stays whole (998 is the hard limit, kept by encoding). */
static void folded(struct hm_buf *out, struct hm_str text, size_t column)
{
	size_t start = 0;

	while (start < text.len) {
		size_t end = start + 1;

		while (end < text.len && text.p[end] != ' ')
			end++;
		if (column + (end - start) > LINE && text.p[start] == ' ') {
			hm_buf_lit(out, "\r\n");
			column = 0;
		}
		hm_buf_put(out, text.p + start, end - start);
		column += end - start;
		start = end;
	}
}

void hm_mime_text(struct hm_buf *out, struct hm_str text, size_t column)
{
	bool plain = is_ascii(text) && hm_str_find(text, HM_STR("=?")) <
					       0; /* what looks like an encoded word is none of ours */
	size_t run = 0;

	for (size_t i = 0; plain && i < text.len; i++) {
		run = text.p[i] == ' ' ? 0 : run + 1;
		plain = run < 900;
	}
	/* Blanks at the ends, or in a row, would get lost in folding. */
	if (plain && text.len &&
	    (text.p[0] == ' ' || text.p[text.len - 1] == ' ' || hm_str_find(text, HM_STR("  ")) >= 0))
		plain = false;
	if (plain)
		folded(out, text, column);
	else
		encoded_words(out, text, column);
}

/* A display name: an atom, a quoted string, or encoded words (RFC 5322 section 3.4). */
static void display_name(struct hm_buf *out, struct hm_str name, size_t column)
{
	bool atom = true;

	if (!is_ascii(name) || hm_str_find(name, HM_STR("=?")) >= 0 || name.len > 60) {
		encoded_words(out, name, column);
		return;
	}
	for (size_t i = 0; i < name.len; i++) {
		char c = name.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      c == ' ' || c == '-' || c == '_' || c == '!' || c == '#' || c == '$' || c == '&' ||
		      c == '\'' || c == '*' || c == '+' || c == '/'))
			atom = false;
	}
	if (atom && name.p[0] != ' ' && name.p[name.len - 1] != ' ') {
		hm_buf_puts(out, name);
		return;
	}
	hm_buf_putc(out, '"');
	for (size_t i = 0; i < name.len; i++) {
		if (name.p[i] == '"' || name.p[i] == '\\')
			hm_buf_putc(out, '\\');
		hm_buf_putc(out, name.p[i]);
	}
	hm_buf_putc(out, '"');
}

struct hm_str hm_mail_domain(struct hm_str addr)
{
	for (size_t i = addr.len; i > 0; i--)
		if (addr.p[i - 1] == '@')
			return hm_str_n(addr.p + i, addr.len - i);
	return HM_STR("");
}

static int check_mailbox(const struct hm_mime_mailbox *b, const char *field, struct hm_err *e)
{
	if (hm_mail_domain(b->addr).len == 0 || b->addr.p[0] == '@' || b->addr.len > MAX_ADDR)
		return bad(e, field, "an address must be name@domain");
	for (size_t i = 0; i < b->addr.len; i++)
		if ((uint8_t)b->addr.p[i] <= 0x20 || (uint8_t)b->addr.p[i] >= 0x7f ||
		    strchr("<>(),;:\\\"[]", b->addr.p[i]))
			return bad(e, field,
				   "the address has a character that is not allowed here (a domain is "
				   "written in its ASCII form, xn--...)");
	if (has_control(b->name))
		return bad(e, field, "the name has a control character");
	return 0;
}

static void mailbox(struct hm_buf *out, const char *header, const struct hm_mime_mailbox *b)
{
	size_t at = out->len;

	hm_buf_puts(out, hm_str_c(header));
	hm_buf_lit(out, ": ");
	if (b->name.len) {
		display_name(out, b->name, out->len - at);
		if (out->len - at + b->addr.len > LINE)
			hm_buf_lit(out, "\r\n");
		hm_buf_lit(out, " <");
		hm_buf_puts(out, b->addr);
		hm_buf_lit(out, ">\r\n");
		return;
	}
	hm_buf_puts(out, b->addr);
	hm_buf_lit(out, "\r\n");
}

static void date(struct hm_buf *out, uint64_t unix_s)
{
	static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	time_t t = (time_t)unix_s;
	struct tm tm;

	gmtime_r(&t, &tm);
	hm_buf_printf(out, "Date: %s, %02d %s %d %02d:%02d:%02d +0000\r\n", days[tm.tm_wday], tm.tm_mday,
		      months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static bool header_name(struct hm_str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((uint8_t)s.p[i] <= 0x20 || (uint8_t)s.p[i] >= 0x7f || s.p[i] == ':')
			return false;
	return s.len > 0 && s.len <= 70;
}

/* -- bodies ---------------------------------------------------------------------------- */

void hm_mime_base64(struct hm_buf *out, struct hm_str bytes)
{
	for (size_t i = 0; i < bytes.len; i += 57) {
		hm_buf_base64(out, bytes.p + i, bytes.len - i < 57 ? bytes.len - i : 57);
		hm_buf_lit(out, "\r\n");
	}
}

/* The next line end at or after i: its length (CRLF, LF or CR), 0 when text goes on. */
static size_t line_end(struct hm_str s, size_t i)
{
	if (s.p[i] == '\r')
		return i + 1 < s.len && s.p[i + 1] == '\n' ? 2 : 1;
	return s.p[i] == '\n' ? 1 : 0;
}

void hm_mime_quoted(struct hm_buf *out, struct hm_str s)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t column = 0, n;

	for (size_t i = 0; i < s.len; i++) {
		uint8_t c = (uint8_t)s.p[i];
		bool escape;

		if ((n = line_end(s, i)) > 0) {
			hm_buf_lit(out, "\r\n");
			column = 0;
			i += n - 1;
			continue;
		}
		escape = c > 0x7e || c == '=' || (c < 0x20 && c != '\t');
		if ((c == ' ' || c == '\t') && (i + 1 == s.len || line_end(s, i + 1)))
			escape = true; /* blanks at a line's end get lost on the way */
		if (column == 0 &&
		    (c == '.' || (c == 'F' && hm_str_starts(hm_str_n(s.p + i, s.len - i), HM_STR("From ")))))
			escape = true; /* what old relays change */
		if (column + (escape ? 3 : 1) > LINE - 1) {
			hm_buf_lit(out, "=\r\n");
			column = 0;
		}
		if (escape) {
			hm_buf_putc(out, '=');
			hm_buf_putc(out, hex[c >> 4]);
			hm_buf_putc(out, hex[c & 15]);
			column += 3;
		} else {
			hm_buf_putc(out, (char)c);
			column++;
		}
	}
	if (column > 0)
		hm_buf_lit(out, "\r\n");
}

static bool mostly_ascii(struct hm_str s)
{
	size_t high = 0;

	for (size_t i = 0; i < s.len; i++)
		high += (uint8_t)s.p[i] >= 0x80;
	return high * 6 <= s.len;
}

/* Canonical form of text is CRLF, also inside base64 (RFC 2045 section 6.8). */
static void base64_text(struct hm_buf *out, struct hm_str s)
{
	char line[57];
	size_t n = 0, end;

	for (size_t i = 0; i < s.len; i++) {
		end = line_end(s, i);
		for (size_t k = 0; k < (end ? 2u : 1u); k++) {
			line[n++] = end ? "\r\n"[k] : s.p[i];
			if (n == sizeof(line)) {
				hm_mime_base64(out, hm_str_n(line, n));
				n = 0;
			}
		}
		i += end ? end - 1 : 0;
	}
	hm_mime_base64(out, hm_str_n(line, n));
}

static void text_part(struct hm_buf *out, const char *type, struct hm_str text)
{
	bool quoted = mostly_ascii(text);

	hm_buf_printf(out, "Content-Type: %s; charset=utf-8\r\nContent-Transfer-Encoding: %s\r\n\r\n", type,
		      quoted ? "quoted-printable" : "base64");
	if (quoted)
		hm_mime_quoted(out, text);
	else
		base64_text(out, text);
}

/* -- parts ------------------------------------------------------------------------------- */

struct writer {
	const struct hm_mime *m;
	struct hm_buf *out;
	unsigned level;
	char mark[4][48];
};

/* '=' then '_' occur in neither quoted-printable nor base64, so no content can hold a boundary (RFC 2045 section 6.7). */
static const char *new_mark(struct writer *w)
{
	unsigned n = w->level++;

	snprintf(w->mark[n], sizeof(w->mark[n]), "=_%u_%016llx%08llx", n,
		 (unsigned long long)hm_hash64(w->m->seed.p, w->m->seed.len, n + 1),
		 (unsigned long long)hm_hash64(w->m->seed.p, w->m->seed.len, n + 77) & 0xffffffffu);
	return w->mark[n];
}

static const char *open_multipart(struct writer *w, const char *kind)
{
	const char *mark = new_mark(w);

	hm_buf_printf(w->out, "Content-Type: multipart/%s;\r\n boundary=\"%s\"\r\n\r\n", kind, mark);
	return mark;
}

static void next_part(struct writer *w, const char *mark)
{
	hm_buf_printf(w->out, "--%s\r\n", mark);
}

static void end_multipart(struct writer *w, const char *mark)
{
	hm_buf_printf(w->out, "--%s--\r\n", mark);
}

static void alternative(struct writer *w)
{
	const struct hm_mime *m = w->m;
	const char *mark;

	if (m->html.len == 0) {
		text_part(w->out, "text/plain", m->text);
		return;
	}
	if (m->text.len == 0) {
		text_part(w->out, "text/html", m->html);
		return;
	}
	mark = open_multipart(w, "alternative");
	next_part(w, mark);
	text_part(w->out, "text/plain", m->text);
	next_part(w, mark);
	text_part(w->out, "text/html", m->html);
	end_multipart(w, mark);
}

/* A parameter of Content-Disposition: quoted when ASCII; else RFC 2231, then an ASCII likeness for those that cannot read it. */
static void filename(struct hm_buf *out, struct hm_str name)
{
	if (!is_ascii(name)) {
		hm_buf_lit(out, ";\r\n filename*=UTF-8''");
		hm_buf_percent(out, name);
	}
	hm_buf_lit(out, ";\r\n filename=\"");
	for (size_t i = 0; i < name.len; i++) {
		char c = name.p[i];

		if ((uint8_t)c >= 0x80) {
			if (((uint8_t)c & 0xc0) != 0x80)
				hm_buf_putc(out, '_');
		} else {
			if (c == '"' || c == '\\')
				hm_buf_putc(out, '\\');
			hm_buf_putc(out, c);
		}
	}
	hm_buf_putc(out, '"');
}

static void attachment(struct writer *w, const struct hm_mime_attachment *a)
{
	hm_buf_lit(w->out, "Content-Type: ");
	if (a->type.len)
		hm_buf_puts(w->out, a->type);
	else
		hm_buf_lit(w->out, "application/octet-stream");
	hm_buf_lit(w->out, "\r\nContent-Transfer-Encoding: base64\r\n");
	if (a->cid.len) {
		hm_buf_lit(w->out, "Content-ID: <");
		hm_buf_puts(w->out, a->cid);
		hm_buf_lit(w->out, ">\r\n");
	}
	hm_buf_puts(w->out, a->cid.len ? HM_STR("Content-Disposition: inline")
				       : HM_STR("Content-Disposition: attachment"));
	if (a->name.len)
		filename(w->out, a->name);
	hm_buf_lit(w->out, "\r\n\r\n");
	hm_mime_base64(w->out, a->data);
}

static size_t count(const struct hm_mime *m, bool inlined)
{
	size_t n = 0;

	for (size_t i = 0; i < m->n_attachments; i++)
		n += (m->attachments[i].cid.len > 0) == inlined;
	return n;
}

/* One level of the tree: what is inside first, then the files that belong to it. */
static void with_files(struct writer *w, const char *kind, bool inlined, void (*inner)(struct writer *w))
{
	const char *mark;

	if (count(w->m, inlined) == 0) {
		inner(w);
		return;
	}
	mark = open_multipart(w, kind);
	next_part(w, mark);
	inner(w);
	for (size_t i = 0; i < w->m->n_attachments; i++) {
		if ((w->m->attachments[i].cid.len > 0) != inlined)
			continue;
		next_part(w, mark);
		attachment(w, &w->m->attachments[i]);
	}
	end_multipart(w, mark);
}

static void related(struct writer *w)
{
	with_files(w, "related", true, alternative);
}

/* -- the whole ------------------------------------------------------------------------------ */

static int check(const struct hm_mime *m, struct hm_err *e)
{
	int rc;

	if ((rc = check_mailbox(&m->from, "from", e)) != 0 || (rc = check_mailbox(&m->to, "to", e)) != 0)
		return rc;
	if (m->reply_to.addr.len && (rc = check_mailbox(&m->reply_to, "reply_to", e)) != 0)
		return rc;
	if (has_control(m->subject))
		return bad(e, "subject", "it has a control character");
	if (m->message_id.len &&
	    (has_control(m->message_id) || !is_ascii(m->message_id) || m->message_id.len > 250))
		return bad(e, "message_id", "it must be ASCII, at most 250 characters");
	if (m->text.len == 0 && m->html.len == 0)
		return bad(e, "text", "a mail needs a text");
	for (size_t i = 0; i < m->n_headers; i++)
		if (!header_name(m->headers[i].name) || has_control(m->headers[i].value))
			return bad(e, "headers",
				   "a header's name or value has a character that is not allowed");
	if (m->n_attachments > HM_MIME_ATTACHMENTS)
		return bad(e, "attachments", "there are more than 32");
	for (size_t i = 0; i < m->n_attachments; i++) {
		const struct hm_mime_attachment *a = &m->attachments[i];

		if (has_control(a->name) || has_control(a->type) || !is_ascii(a->type) ||
		    has_control(a->cid) || !is_ascii(a->cid) || a->name.len > 250 || a->type.len > 120 ||
		    a->cid.len > 120)
			return bad(e, "attachments",
				   "a name, type or cid is too long or has a character that is not allowed");
	}
	return 0;
}

int hm_mime_write(const struct hm_mime *m, struct hm_buf *out, struct hm_err *e)
{
	struct writer w = {.m = m, .out = out};
	int rc = check(m, e);

	if (rc != 0)
		return rc;
	date(out, m->date_s);
	mailbox(out, "From", &m->from);
	mailbox(out, "To", &m->to);
	if (m->reply_to.addr.len)
		mailbox(out, "Reply-To", &m->reply_to);
	hm_buf_lit(out, "Subject: ");
	hm_mime_text(out, m->subject, 9);
	hm_buf_lit(out, "\r\n");
	if (m->message_id.len) {
		hm_buf_lit(out, "Message-ID: ");
		hm_buf_puts(out, m->message_id);
		hm_buf_lit(out, "\r\n");
	}
	hm_buf_lit(out, "MIME-Version: 1.0\r\n");
	for (size_t i = 0; i < m->n_headers; i++) {
		if (m->headers[i].value.len == 0)
			continue;
		hm_buf_puts(out, m->headers[i].name);
		hm_buf_lit(out, ": ");
		hm_mime_text(out, m->headers[i].value, m->headers[i].name.len + 2);
		hm_buf_lit(out, "\r\n");
	}
	with_files(&w, "mixed", false, related);
	if (out->err)
		return hm_err_set(e, out->err, "the mail grew over %zu bytes", out->max);
	return 0;
}
