/*
 * supp_text.c - entries of the lists, read and written
 */
#include "gates/supp_text.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"

enum key {
	K_ADDRESS,
	K_USER,
	K_MEDIUM,
	K_CATEGORY,
	K_REASON,
	K_PROOF,
	K_BY,
	K_AT,
	K_UNTIL,
	K_SINCE,
	K_COUNT
};
const char *const hm_suppress_keys[] = {"address", "user", "medium", "category", "reason", "proof",
					"by",	   "at",   "until",  "since",	 NULL};

static int wrong(struct hm_err *e, const char *field, const char *text)
{
	hm_err_set(e, HM_EINVAL, "%s: %s", field, text);
	hm_err_field(e, field);
	return HM_EINVAL;
}

int hm_suppress_read_medium(struct hm_str s, int *medium_r, struct hm_err *e)
{
	*medium_r = -1;
	if (s.len == 0 || hm_str_is(s, "*"))
		return 0;
	*medium_r = hm_medium_find(s);
	if (*medium_r >= 0)
		return 0;
	hm_err_set(e, HM_EINVAL, "medium: must be %s or *", hm_media_list());
	hm_err_field(e, "medium");
	return HM_EINVAL;
}

static int unknown(struct hm_str key, struct hm_err *e)
{
	const char *near = hm_str_nearest(key, hm_suppress_keys);
	char field[61];

	(void)snprintf(field, sizeof(field), "%.*s", (int)hm_utf8_cut(key, sizeof(field) - 1), key.p);
	hm_err_set(e, HM_EINVAL, "%s is not known here%s%s%s", field, near ? ", did you mean " : "",
		   near ? near : "", near ? "?" : "");
	hm_err_field(e, field);
	return HM_EINVAL;
}

/* A text or a number of milliseconds. */
static int read_time(const msgpack_object *o, const char *field, uint64_t *ms_r, struct hm_err *e)
{
	struct hm_str s;

	if (hm_mp_u64(o, ms_r))
		return 0;
	if (hm_mp_str(o, &s) && (s.len == 0 || hm_str_u64(s, ms_r) || hm_clock_parse_rfc3339(s, ms_r)))
		return 0;
	return wrong(e, field, "must be an RFC 3339 time or milliseconds of Unix time");
}

static int read_member(enum key k, const msgpack_object *v, struct hm_suppress_entry *x,
		       struct hm_str subjects[2], struct hm_err *e)
{
	struct hm_str s = HM_STR_NULL;

	if (v->type == MSGPACK_OBJECT_NIL)
		return 0;
	if (k < K_AT && !hm_mp_str(v, &s))
		return wrong(e, hm_suppress_keys[k], "must be a text");
	switch (k) {
	case K_ADDRESS:
	case K_USER: subjects[k] = s; return 0;
	case K_MEDIUM: return hm_suppress_read_medium(s, &x->medium, e);
	case K_CATEGORY: x->category = hm_str_is(s, "*") ? HM_STR_NULL : s; return 0;
	case K_REASON: x->reason = s; return 0;
	case K_PROOF: x->proof = s; return 0;
	case K_BY: x->by = s; return 0;
	case K_AT: return read_time(v, "at", &x->at_ms, e);
	case K_UNTIL: return read_time(v, "until", &x->until_ms, e);
	case K_SINCE: return read_time(v, "since", &x->since_ms, e);
	case K_COUNT: break;
	}
	hm_unreachable();
}

int hm_suppress_read(const msgpack_object *o, bool consents, bool as_key, uint64_t now_ms,
		     struct hm_suppress_entry *x_r, struct hm_err *e)
{
	struct hm_suppress_entry x = {.medium = -1};
	struct hm_str subjects[2] = {HM_STR_NULL, HM_STR_NULL};

	if (o->type != MSGPACK_OBJECT_MAP)
		return hm_err_set(e, HM_EINVAL, "an entry must be an object, not %s", hm_mp_type_name(o));
	for (uint32_t i = 0; i < o->via.map.size; i++) {
		struct hm_str key = HM_STR("");
		size_t k = 0;

		(void)hm_mp_str(&o->via.map.ptr[i].key, &key);
		while (k < K_COUNT && !hm_str_is(key, hm_suppress_keys[k]))
			k++;
		if (k == K_COUNT)
			return unknown(key, e);
		if (read_member((enum key)k, &o->via.map.ptr[i].val, &x, subjects, e))
			return HM_EINVAL;
	}
	if (subjects[0].len && subjects[1].len)
		return wrong(e, "user", "an entry is about an address or a user, not both");
	if (!subjects[0].len && !subjects[1].len)
		return wrong(e, "address", "an entry needs an address or a user");
	x.subject = subjects[0].len ? subjects[0] : subjects[1];
	if (subjects[0].len)
		x.kind = consents ? HM_CONSENT_ADDRESS : HM_SUPPRESS_ADDRESS;
	else
		x.kind = consents ? HM_CONSENT_USER : HM_SUPPRESS_USER;
	if (x.at_ms == 0)
		x.at_ms = now_ms;
	if (as_key) {
		x.reason = x.proof = x.by = HM_STR_NULL;
		x.until_ms = 0;
	}
	if (!consents && x.reason.len == 0)
		x.reason = HM_STR("manual");
	*x_r = x;
	return hm_suppress_check(&x, e);
}

/* -- writing --------------------------------------------------------------------------------------- */

static bool is_user(const struct hm_suppress_entry *x)
{
	return x->kind == HM_SUPPRESS_USER || x->kind == HM_CONSENT_USER;
}

static struct hm_str medium_of(const struct hm_suppress_entry *x)
{
	return x->medium < 0 ? HM_STR("*") : hm_str_c(hm_medium_name((enum hm_medium)x->medium));
}

static struct hm_str category_of(const struct hm_suppress_entry *x)
{
	return x->category.len ? x->category : HM_STR("*");
}

static void put_text(struct hm_buf *b, const char *key, struct hm_str s)
{
	if (s.len == 0)
		return;
	hm_buf_printf(b, ",\"%s\":\"", key);
	hm_buf_json(b, s);
	hm_buf_putc(b, '"');
}

static void put_time(struct hm_buf *b, const char *key, uint64_t ms)
{
	char text[25];

	if (ms == 0)
		return;
	hm_clock_rfc3339(ms, text);
	put_text(b, key, hm_str_c(text));
}

void hm_suppress_put_json(const struct hm_suppress_entry *x, struct hm_buf *out)
{
	hm_buf_puts(out, is_user(x) ? HM_STR("{\"user\":\"") : HM_STR("{\"address\":\""));
	hm_buf_json(out, x->subject);
	hm_buf_putc(out, '"');
	put_text(out, "medium", medium_of(x));
	put_text(out, "category", category_of(x));
	put_text(out, "reason", x->reason);
	put_text(out, "proof", x->proof);
	put_text(out, "by", x->by);
	put_time(out, "at", x->at_ms);
	put_time(out, "until", x->until_ms);
	put_time(out, "since", x->since_ms);
	hm_buf_putc(out, '}');
}

void hm_suppress_put_csv_head(struct hm_buf *out)
{
	for (size_t i = 0; hm_suppress_keys[i]; i++) {
		if (i)
			hm_buf_putc(out, ',');
		hm_buf_puts(out, hm_str_c(hm_suppress_keys[i]));
	}
	hm_buf_lit(out, "\r\n");
}

static void csv_text(struct hm_buf *b, struct hm_str s)
{
	if (hm_str_chr(s, ',') < 0 && hm_str_chr(s, '"') < 0) {
		hm_buf_puts(b, s); /* there are no line breaks in any of them */
		return;
	}
	hm_buf_putc(b, '"');
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] == '"')
			hm_buf_putc(b, '"');
		hm_buf_putc(b, s.p[i]);
	}
	hm_buf_putc(b, '"');
}

static void csv_time(struct hm_buf *b, uint64_t ms)
{
	char text[25];

	hm_buf_putc(b, ',');
	if (ms == 0)
		return;
	hm_clock_rfc3339(ms, text);
	hm_buf_puts(b, hm_str_c(text));
}

void hm_suppress_put_csv(const struct hm_suppress_entry *x, struct hm_buf *out)
{
	const struct hm_str texts[] = {is_user(x) ? HM_STR_NULL : x->subject,
				       is_user(x) ? x->subject : HM_STR_NULL,
				       medium_of(x),
				       category_of(x),
				       x->reason,
				       x->proof,
				       x->by};

	for (size_t i = 0; i < hm_countof(texts); i++) {
		if (i)
			hm_buf_putc(out, ',');
		csv_text(out, texts[i]);
	}
	csv_time(out, x->at_ms);
	csv_time(out, x->until_ms);
	csv_time(out, x->since_ms);
	hm_buf_lit(out, "\r\n");
}
