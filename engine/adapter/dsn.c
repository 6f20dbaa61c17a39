/*
 * dsn.c - mails about mails: RFC 3464 delivery reports, RFC 5965 feedback reports
 *
 * The report is the part of type message/delivery-status (groups of fields: one about the message, then one per
 * recipient) or message/feedback-report; the mail it is about comes as message/rfc822 or text/rfc822-headers.
 *
 * Some mail systems still send a bounce as a letter to people. Who it is about is read from X-Failed-Recipients or from the
 * first address in it, why from the first code of RFC 3463 or RFC 5321: a guess, and called so.
 */
#include "adapter/callback_body.h"

#define MIME_DEPTH 6
#define GROUPS_MAX 1000
#define LETTER_MAX 16384

struct dsn {
	struct hm_arena *a;
	struct hm_val kind, report, recipients, original;
	struct hm_str letter; /* the first text */
};

static struct hm_str field_name(struct hm_str s, struct hm_arena *a)
{
	char *p = hm_arena_alloc(a, s.len + 1);

	if (p == NULL)
		return HM_STR("");
	for (size_t i = 0; i < s.len; i++)
		p[i] = s.p[i] == '-' ? '_' : (char)(s.p[i] >= 'A' && s.p[i] <= 'Z' ? s.p[i] | 0x20 : s.p[i]);
	return hm_str_n(p, s.len);
}

/* "rfc822;a@b" "smtp; 550 no" "dns; mx.example.com": the type of what follows (RFC 3464 section 2.1.2). */
static struct hm_str untyped(struct hm_str v)
{
	ptrdiff_t semi = hm_str_chr(v, ';');

	if (semi <= 0 || semi > 20)
		return v;
	for (ptrdiff_t i = 0; i < semi; i++) {
		char c = (char)(v.p[i] | 0x20);

		if (!((c >= 'a' && c <= 'z') || (v.p[i] >= '0' && v.p[i] <= '9') || v.p[i] == '-'))
			return v;
	}
	return hm_str_trim(hm_str_n(v.p + semi + 1, v.len - (size_t)semi - 1));
}

static struct hm_val fields(struct hm_str text, bool typed, struct hm_arena *a)
{
	struct hm_cb_map m = {.a = a};
	struct hm_str name, value;

	while (hm_cb_header(&text, &name, &value, a))
		hm_cb_map_add(&m, field_name(name, a), hm_val_str(typed ? untyped(value) : value));
	return hm_cb_map_val(&m);
}

static void delivery_status(struct dsn *d, struct hm_str text)
{
	struct hm_val *v = hm_arena_alloc(d->a, GROUPS_MAX * sizeof(*v));
	uint32_t n = 0;

	d->kind = hm_val_str(HM_STR("delivery"));
	for (bool first = true; text.len > 0 && v != NULL && n < GROUPS_MAX;) {
		struct hm_str group;
		struct hm_val f;

		hm_cb_split_head(text, &group, &text);
		f = fields(group, true, d->a);
		if (f.t != HM_V_MAP || f.n == 0)
			continue;
		if (first)
			d->report = f;
		else
			v[n++] = f;
		first = false;
	}
	d->recipients = (struct hm_val){.t = HM_V_LIST, .n = n, .list = v};
}

static bool media(struct hm_str type, const char *want)
{
	ptrdiff_t semi = hm_str_chr(type, ';');

	return hm_str_ieq(hm_str_trim(semi < 0 ? type : hm_str_n(type.p, (size_t)semi)), hm_str_c(want));
}

static struct hm_str unbase64(struct hm_str text, struct hm_arena *a)
{
	struct hm_buf packed, out;

	hm_buf_init_arena(&packed, a, HM_VAL_MAX_TEXT);
	hm_buf_init_arena(&out, a, HM_VAL_MAX_TEXT);
	for (size_t i = 0; i < text.len; i++)
		if ((unsigned char)text.p[i] > ' ')
			hm_buf_putc(&packed, text.p[i]);
	return packed.err == 0 && hm_buf_unbase64(&out, hm_buf_str(&packed)) ? hm_buf_str(&out) : HM_STR("");
}

/* -- letters ------------------------------------------------------------------------ */

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

static size_t digits(struct hm_str s, size_t at)
{
	size_t n = 0;

	while (at + n < s.len && digit(s.p[at + n]))
		n++;
	return n;
}

static bool begins_word(struct hm_str s, size_t at)
{
	char c = at ? s.p[at - 1] : ' ';

	return !digit(c) && c != '.' && c != '-' && (c | 0x20) != 'x';
}

/* "5.1.1" (RFC 3463), never the middle of an address of the network. */
static struct hm_str enhanced(struct hm_str s)
{
	for (size_t i = 0; i + 5 <= s.len; i++) {
		size_t a, b, end;

		if ((s.p[i] != '5' && s.p[i] != '4') || s.p[i + 1] != '.' || !begins_word(s, i))
			continue;
		a = digits(s, i + 2);
		if (a < 1 || a > 3 || i + 2 + a >= s.len || s.p[i + 2 + a] != '.')
			continue;
		b = digits(s, i + 3 + a);
		end = i + 3 + a + b;
		if (b < 1 || b > 3 || (end + 1 < s.len && s.p[end] == '.' && digit(s.p[end + 1])))
			continue;
		return hm_str_n(s.p + i, end - i);
	}
	return HM_STR("");
}

/* "550", behind which a sentence or an enhanced code follows. */
static struct hm_str reply_code(struct hm_str s)
{
	for (size_t i = 0; i + 4 <= s.len; i++)
		if ((s.p[i] == '5' || s.p[i] == '4') && digits(s, i) == 3 && begins_word(s, i) &&
		    (s.p[i + 3] == ' ' || s.p[i + 3] == '-'))
			return hm_str_n(s.p + i, 3);
	return HM_STR("");
}

static bool of_address(char c)
{
	return (unsigned char)c > ' ' && (unsigned char)c < 0x7f && !strchr("<>()[]:;,\"'", c);
}

static struct hm_str first_address(struct hm_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		size_t from = i, to = i;

		if (s.p[i] != '@')
			continue;
		while (from > 0 && of_address(s.p[from - 1]))
			from--;
		while (to + 1 < s.len && of_address(s.p[to + 1]))
			to++;
		while (to > i && s.p[to] == '.')
			to--;
		if (from < i && to > i)
			return hm_str_n(s.p + from, to + 1 - from);
	}
	return HM_STR("");
}

static struct hm_str head_field(const struct hm_val *head, const char *name, struct hm_arena *a)
{
	struct hm_val v = hm_val_get(head, hm_str_c(name), a);

	return hm_val_text(&v, a);
}

static bool has(struct hm_str s, const char *what)
{
	struct hm_str w = hm_str_c(what);

	for (size_t i = 0; i + w.len <= s.len; i++)
		if (hm_str_ieq(hm_str_n(s.p + i, w.len), w))
			return true;
	return false;
}

/* false: no bounce, as far as anybody can tell. */
static bool guess(struct dsn *d, const struct hm_val *head)
{
	struct hm_str failed = head_field(head, "x_failed_recipients", d->a), status = enhanced(d->letter),
		      code = reply_code(d->letter), one;
	struct hm_val *v = hm_arena_alloc(d->a, GROUPS_MAX * sizeof(*v));
	uint32_t n = 0;

	if (failed.len == 0) {
		struct hm_str from = head_field(head, "from", d->a);

		if (!has(from, "mailer-daemon") && !has(from, "postmaster") &&
		    !hm_str_is(head_field(head, "return_path", d->a), "<>"))
			return false;
		/* Out of office; and what may still arrive. */
		if (has(head_field(head, "auto_submitted", d->a), "auto-replied") ||
		    (status.len ? status.p[0]
		     : code.len ? code.p[0]
				: '4') != '5')
			return false;
		failed = first_address(d->letter);
		if (failed.len == 0)
			return false;
	}
	while (v != NULL && hm_str_split(&failed, ',', &one) && n < GROUPS_MAX) {
		struct hm_cb_map m = {.a = d->a};

		one = hm_str_trim(one);
		if (one.len == 0)
			continue;
		hm_cb_map_add(&m, HM_STR("final_recipient"), hm_val_str(one));
		hm_cb_map_add(&m, HM_STR("action"), hm_val_str(HM_STR("failed")));
		if (status.len > 0)
			hm_cb_map_add(&m, HM_STR("status"), hm_val_str(status));
		if (code.len > 0)
			hm_cb_map_add(&m, HM_STR("diagnostic_code"), hm_val_str(code));
		v[n++] = hm_cb_map_val(&m);
	}
	d->recipients = (struct hm_val){.t = HM_V_LIST, .n = n, .list = v};
	return n > 0;
}

/* -- MIME --------------------------------------------------------------------------- */

static void entity(struct dsn *d, struct hm_str text, int depth)
{
	struct hm_str head, body, name, value, type = HM_STR("text/plain"), part, how = HM_STR("");

	hm_cb_split_head(text, &head, &body);
	while (hm_cb_header(&head, &name, &value, d->a)) {
		if (hm_str_ieq(name, HM_STR("content-type")))
			type = value;
		else if (hm_str_ieq(name, HM_STR("content-transfer-encoding")))
			how = value;
	}
	if (hm_str_ieq(how, HM_STR("base64")))
		body = unbase64(body, d->a);
	if (type.len > 10 && hm_str_ieq(hm_str_n(type.p, 10), HM_STR("multipart/"))) {
		struct hm_str boundary = hm_cb_param(type, "boundary");

		while (depth < MIME_DEPTH && hm_cb_part(&body, boundary, &part))
			entity(d, part, depth + 1);
	} else if (media(type, "message/delivery-status") || media(type, "message/global-delivery-status")) {
		delivery_status(d, body);
	} else if (media(type, "message/feedback-report")) {
		d->kind = hm_val_str(HM_STR("feedback"));
		d->report = fields(body, true, d->a);
	} else if (d->letter.len == 0 && media(type, "text/plain")) {
		d->letter = hm_str_n(body.p, hm_min(body.len, (size_t)LETTER_MAX));
	} else if (depth > 0 && d->original.t == HM_V_NONE &&
		   (media(type, "message/rfc822") || media(type, "text/rfc822-headers") ||
		    media(type, "message/rfc822-headers") || media(type, "message/global"))) {
		hm_cb_split_head(body, &head, &part);
		d->original = fields(head, false, d->a);
	}
}

struct hm_val hm_cb_dsn(struct hm_str mail, struct hm_arena *a)
{
	struct hm_cb_map m = {.a = a};
	struct dsn d = {.a = a};
	struct hm_str top, rest;
	struct hm_val head;

	hm_cb_split_head(mail, &top, &rest);
	head = fields(top, false, a);
	if (head.t != HM_V_MAP || head.n == 0)
		return HM_NONE;
	entity(&d, mail, 0);
	if (d.kind.t == HM_V_NONE)
		d.kind = hm_val_str(guess(&d, &head) ? HM_STR("guess") : HM_STR("other"));
	hm_cb_map_add(&m, HM_STR("kind"), d.kind);
	hm_cb_map_add(&m, HM_STR("head"), head);
	hm_cb_map_add(&m, HM_STR("report"), d.report);
	hm_cb_map_add(&m, HM_STR("recipients"), d.recipients);
	hm_cb_map_add(&m, HM_STR("original"), d.original);
	return hm_cb_map_val(&m);
}
