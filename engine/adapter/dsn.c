/*
 * dsn.c - mails about mails: RFC 3464 delivery reports, RFC 5965 feedback reports
 *
 * The report is the part of type message/delivery-status (groups of fields: one about the message, then one per
 * recipient) or message/feedback-report; the mail it is about comes as message/rfc822 or text/rfc822-headers.
 */
#include "adapter/callback_body.h"

#define MIME_DEPTH 6
#define GROUPS_MAX 1000

struct dsn {
	struct hm_arena *a;
	struct hm_val kind, report, recipients, original;
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

	entity(&d, mail, 0);
	if (d.kind.t == HM_V_NONE)
		return HM_NONE;
	hm_cb_map_add(&m, HM_STR("kind"), d.kind);
	hm_cb_map_add(&m, HM_STR("report"), d.report);
	hm_cb_map_add(&m, HM_STR("recipients"), d.recipients);
	hm_cb_map_add(&m, HM_STR("original"), d.original);
	return hm_cb_map_val(&m);
}
